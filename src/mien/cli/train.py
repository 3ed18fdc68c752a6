"""`mien train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import load_keras, reading_bar, scores_table, to_stderr
from mien.cli.settings import assigned, on_command_line, starting_from
from mien.errors import MissingExtraError, UsageError, unknown_choice

if TYPE_CHECKING:
    from mien.config import TrainingConfig
    from mien.training import TrainingResult


def train_command(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder, CSV or archive of labelled faces.")] = Path(
        "FER2013"
    ),
    recipe: Annotated[
        str,
        typer.Option(help="Settings to start from: seed, cpu, light, large, vgg, small, distilled, speedrun, demo."),
    ] = "seed",
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings of a JSON file instead, such as a study's best.json."),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="seed, small, compact, medium, slim, large or vgg.", show_default="the recipe's")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.", show_default="the recipe's")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.", show_default="the recipe's")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest rate.", show_default="the recipe's")] = None,
    augmentation: Annotated[
        str | None, typer.Option(help="none, seed, standard, wide or robust.", show_default="the recipe's")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of the network's input in pixels.", show_default="48")] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for RGB.", show_default="1")] = None,
    seed: Annotated[int | None, typer.Option(help="Every random stream follows from it.", show_default="0")] = None,
    validation_fraction: Annotated[
        float | None, typer.Option(help="Share of Training held out.", show_default="0.1")
    ] = None,
    ferplus: Annotated[
        str | None,
        typer.Option(help="majority or distribution: votes as labels, FER+'s or a table's.", show_default="none"),
    ] = None,
    class_weights: Annotated[bool, typer.Option("--class-weights", help="Weigh rare classes more.")] = False,
    early_stopping: Annotated[
        int | None, typer.Option(help="Epochs without a better validation loss; 0: never.", show_default="0")
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="holdout or public: what epochs are watched on.", show_default="the recipe's")
    ] = None,
    teachers: Annotated[
        list[Path] | None,
        typer.Option("--teacher", metavar="MODEL", help="Learn from this model's answers too; may be repeated."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Start from this model's weights: fine-tuning.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other setting, such as mixup=0.2; may be repeated."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="best or last: which epoch's weights are saved.", show_default="the recipe's"),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, float32, mixed_bfloat16 or mixed_float16.", show_default="auto")
    ] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Equal results to the bit; slower.")] = False,
    limit: Annotated[int, typer.Option(help="Train on this many images at most; 0: all.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on without files that cannot be used.")] = False,
    streaming: Annotated[
        bool | None,
        typer.Option("--streaming/--in-memory", help="Read from files all along, or at once.", show_default="by size"),
    ] = None,
    detect_faces: Annotated[
        bool | None,
        typer.Option(
            "--detect-faces/--no-detect-faces",
            help="Cut each image to the face that MTCNN finds in it, or not.",
            show_default="for photographs, not for face crops",
        ),
    ] = None,
    without_duplicates: Annotated[
        bool, typer.Option("--without-duplicates", help="Leave out training images that also stand in a test split.")
    ] = False,
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Leave out the faces of this list, such as mien data check --fix writes."),
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write TensorBoard logs there.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/<time>")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run that was killed; with its own settings.")
    ] = None,
    hosts: Annotated[
        str | None,
        typer.Option(metavar="HOST0:PORT,HOST1,...", help="Train on these machines together (JAX); the same on each."),
    ] = None,
    host_index: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            envvar=["MIEN_HOST_INDEX", "SLURM_PROCID", "JOB_COMPLETION_INDEX"],
            help="Which of --hosts this machine is, from 0.",
        ),
    ] = None,
    hosts_timeout: Annotated[float, typer.Option(help="Seconds to wait for the other hosts to begin.")] = 300.0,
) -> None:
    """Train a network on labelled faces, judge it, and save it with its history and scores."""
    from mien.config import AUGMENTATIONS
    from mien.datasets.opening import refuse_missing
    from mien.runs import RunFolder, data_of

    _refuse_early(augmentation, tensorboard)
    changes: dict[str, Any] = {
        "network": network,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augmentation": AUGMENTATIONS[augmentation] if augmentation else None,
        "validation_fraction": validation_fraction,
        "validation": validation,
        "ferplus": ferplus,
        "teachers": tuple(map(str, teachers)) if teachers else None,
        "init": str(init) if init else None,
        "keep": keep,
        "size": size,
        "channels": channels,
        "seed": seed,
        "class_weights": class_weights or None,
        "early_stopping": early_stopping,
        "precision": precision,
        "deterministic": deterministic or None,
    }
    selection = {
        "limit": limit,
        "skip_bad": skip_bad,
        "streaming": streaming,
        "detect_faces": "auto" if detect_faces is None else detect_faces,
        "without_duplicates": without_duplicates,
        "exclude": str(exclude.expanduser().resolve()) if exclude else "",
    }
    others = _other_hosts(context, hosts, host_index, hosts_timeout)
    if resume is not None:
        _refuse_settings(context)
        if hosts is None:  # else the first host looks, for all
            data_of(resume, RunFolder.open(resume).read_config())
        load_keras("training")
        with others:
            go_on(resume, tensorboard=tensorboard)
        return
    given = {name: value for name, value in changes.items() if value is not None}
    config = starting_from(context, recipe, config_file, given, assigned(assignments or [], given))
    if hosts is None:
        RunFolder.refuse_used(out)
    refuse_missing(data)
    load_keras("training")
    with others:
        run_training(data, config, out=out, selection=selection, tensorboard=tensorboard)


def _refuse_early(augmentation: str | None, tensorboard: Path | None) -> None:
    """Refuse what can be seen to be wrong before Keras is loaded, which takes seconds.

    Raises:
        UsageError: there is no such augmentation.
        MissingExtraError: TensorBoard is not installed.
    """
    from mien.config import AUGMENTATIONS

    if augmentation is not None and augmentation not in AUGMENTATIONS:
        raise unknown_choice("--augmentation", augmentation, AUGMENTATIONS)
    if tensorboard is not None and find_spec("tensorboard") is None:
        raise MissingExtraError("--tensorboard", "tensorboard")


def _other_hosts(
    context: typer.Context, hosts: str | None, index: int | None, seconds: float
) -> AbstractContextManager[Any]:
    """What to train within: the hosts that are named, or this one alone.

    Raises:
        UsageError: the options are wrong.
    """
    from mien.hosts import HostList, together

    if hosts is not None:
        return together(HostList.parse(hosts, index), seconds=seconds)
    if on_command_line(context, "host_index"):
        raise UsageError("--host-index: says which of --hosts this machine is; give --hosts too")
    return nullcontext()


def run_training(
    data: Path,
    config: TrainingConfig,
    *,
    out: Path | None = None,
    selection: dict[str, Any] | None = None,
    tensorboard: Path | None = None,
    resumable: bool = True,
) -> TrainingResult:
    """Train with everything a person wants to see on stderr, then print the table of scores."""
    from mien.materials import Selection
    from mien.training import train

    chosen = Selection(**(selection or {}))
    with _watching(tensorboard) as watch:
        result = train(data, config, out=out, selection=chosen, resumable=resumable, **watch)
    _report(result, resumable=resumable)
    return result


def go_on(run: Path, *, tensorboard: Path | None = None) -> TrainingResult:
    """`mien train --resume RUN`."""
    from mien.training import resume

    with _watching(tensorboard) as watch:
        result = resume(run, **watch)
    _report(result)
    return result


@contextmanager
def _watching(tensorboard: Path | None) -> Iterator[dict[str, Any]]:
    """The arguments of `mien.training.train` that show a run on stderr."""
    import keras

    from mien.progress import TrainingProgress

    console = to_stderr()
    bar = TrainingProgress(console)
    callbacks: list[keras.callbacks.Callback] = [bar]
    if tensorboard is not None:
        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    with reading_bar(console) as reading:
        try:
            yield {
                "callbacks": callbacks,
                "say": lambda line: console.print(line, style="bold", highlight=False, soft_wrap=True, markup=False),
                "progress": reading,
            }
        finally:
            bar.close()


def _report(result: TrainingResult, *, resumable: bool = True) -> None:
    """Print the scores and where everything is; of several hosts the first does."""
    from rich.console import Console

    from mien.hosts import current

    console = Console(emoji=False)
    if not current().leads:
        return
    if result.scores:
        console.print(scores_table(result.scores))
    for path in sorted(result.folder.iterdir()):
        if path.is_file():
            console.print(str(path), soft_wrap=True, highlight=False, markup=False)
    if result.interrupted:
        way = f"; go on with: mien train --resume {shlex.quote(str(result.folder))}" if resumable else ""
        console.print(
            f"Interrupted: the model of epoch {result.epoch} is kept in {result.folder}{way}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        raise typer.Exit(130)


def _refuse_settings(context: typer.Context) -> None:
    """A resumed run has its own settings: refuse any that are given beside it."""
    names = {str(parameter.name): parameter.opts[0] for parameter in context.command.params} | {"data": "DATA"}
    given = [
        names[name]
        for name in context.params
        if name not in ("resume", "tensorboard", "hosts", "host_index", "hosts_timeout")
        and on_command_line(context, name)
    ]
    if given:
        raise UsageError(f"--resume: goes on with the run's own data and settings; leave out {', '.join(given)}")
