"""``mien tune``: look for better settings of a recipe."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import load_keras, to_stderr
from mien.cli.settings import assigned, starting_from
from mien.errors import MienError, many

if TYPE_CHECKING:
    import keras
    from rich.console import Console
    from rich.table import Table

    from mien.trials import TrialRecord
    from mien.tuning import Tuned

SHOWN = 10
"""Trials in the printed table: the best ones. All of them are in trials.csv."""


def tune_command(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder, CSV or archive of labelled faces.")] = Path(
        "FER2013"
    ),
    recipe: Annotated[str, typer.Option(help="Settings to start from, as mien train has them.")] = "seed",
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings of a JSON file instead.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A setting of all trials, such as epochs=20; repeatable."),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=LOW:HIGH",
            help="What to vary: LOW:HIGH, LOW:HIGH:log or A,B,C; repeatable.",
            show_default="rates and regularisation about the recipe's",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many in all, earlier ones counted.")] = 30,
    out: Annotated[Path, typer.Option("--out", "-o", help="The study's folder; the same again goes on.")] = Path(
        "runs/tune"
    ),
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A journal's path, sqlite:///..., postgresql://..., redis://...",
            show_default="journal.log in --out",
        ),
    ] = None,
    study: Annotated[str, typer.Option(help="Name of the study in its storage.")] = "mien",
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="End trials below the median early.")] = True,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for others' last trials, to take over those that die.")
    ] = True,
    limit: Annotated[int, typer.Option(help="Train on this many images at most; 0: all.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on without files that cannot be used.")] = False,
    without_duplicates: Annotated[
        bool, typer.Option("--without-duplicates", help="Leave out training images that also stand in a test split.")
    ] = False,
    exclude: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Leave out the faces that this list names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Train with many settings that Optuna chooses, and keep the best on validation images; test splits stay unread."""
    from mien.datasets.opening import refuse_missing
    from mien.materials import Selection
    from mien.spaces import parse_space
    from mien.storages import hide_password
    from mien.studies import need_optuna

    need_optuna()
    # PublicTest is no judge of settings, whatever the recipe watches, unless it is asked to be.
    given = {"validation": "holdout", **assigned(assignments or [], {})}
    config = starting_from(context, recipe, config_file, {}, given)
    chosen = parse_space(space, config) if space else None
    refuse_missing(data)
    load_keras("tuning")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that each trial is compiled anew
    from mien.tuning import tune

    console = to_stderr()
    tuned = tune(
        data,
        config,
        space=chosen,
        trials=trials,
        out=out,
        storage=storage,
        study=study,
        selection=Selection(
            limit=limit,
            skip_bad=skip_bad,
            without_duplicates=without_duplicates,
            exclude=str(exclude.expanduser().resolve()) if exclude else "",
        ),
        prune=prune,
        wait=wait,
        say=lambda line: console.print(line, style="bold", highlight=False, soft_wrap=True, markup=False),
        watch=lambda: _bar(console),
    )
    address = hide_password(storage) if storage else None
    if as_json:
        _print_json(_document(tuned, str(data), study, address))
    else:
        _print_tables(tuned, str(data))
    if tuned.trials and all(trial.state == "failed" for trial in tuned.trials):
        raise MienError(f"{tuned.folder}: all trials failed; each one's folder says why in error.txt")


def _bar(console: Console) -> Sequence[keras.callbacks.Callback]:
    """A bar for one trial."""
    from mien.progress import TrainingProgress

    return [TrainingProgress(console)]


def _document(tuned: Tuned, data: str, study: str, storage: str | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    import dataclasses

    from mien import __version__
    from mien.trials import count_done

    return {
        "folder": str(tuned.folder),
        "data": data,
        "study": study,
        "storage": storage or str(tuned.folder / "journal.log"),
        "states": count_done(tuned.trials),
        "best": None if tuned.best is None else dataclasses.asdict(tuned.best),
        "config": None if tuned.config is None else tuned.config.to_dict(),
        "trials": [dataclasses.asdict(trial) for trial in tuned.trials],
        "files": [str(path) for path in tuned.files],
        "mien_version": __version__,
    }


def _print_json(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, indent=2))


def _print_tables(tuned: Tuned, data: str) -> None:
    from rich.console import Console

    from mien.trials import count_done
    from mien.tuning import BEST

    console = Console(emoji=False)
    console.print(_table(tuned))
    states = ", ".join(f"{count} {word}" for word, count in count_done(tuned.trials).items())
    console.print(f"{many(len(tuned.trials), 'trial')}: {states}", highlight=False)
    for path in tuned.files:
        console.print(f"wrote {path}", soft_wrap=True, markup=False, highlight=False)
    if tuned.best is not None:
        console.print(_certainty(tuned.best), highlight=False, soft_wrap=True)
        console.print(
            f"train with it: mien train {shlex.quote(data)} --config {shlex.quote(str(tuned.folder / BEST))}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )


def _certainty(best: TrialRecord) -> str:
    """How far apart trials must be to differ by more than chance."""
    accuracy, n = best.accuracy or 0.0, best.n or 1
    error = (accuracy * (1 - accuracy) / n) ** 0.5
    return (
        f"judged on {many(n, 'validation image')}: one standard error is {100 * error:.1f} points; nearer trials "
        "are as good"
    )


def _table(tuned: Tuned) -> Table:
    """The best trials, those that are complete first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mien.trials import in_words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("trial", "accuracy", "epochs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("state", "settings"):
        table.add_column(heading)
    ranked = sorted(tuned.trials, key=lambda trial: (trial.state != "complete", -(trial.accuracy or 0.0)))
    for trial in ranked[:SHOWN]:
        settings = in_words(trial.parameters)
        accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.2%}"
        note = Text(f"{settings} ({trial.error})" if trial.error else settings)
        table.add_row(str(trial.number), accuracy, str(trial.epochs), trial.state, note)
    return table
