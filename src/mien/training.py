"""`train` and `fit`: from labelled faces to a run folder with the model, its history and its honest scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import keras
from numpy.typing import ArrayLike

from mien import backend
from mien.beginning import check_network_of
from mien.config import TrainingConfig
from mien.datasets import open_dataset
from mien.datasets.pixels import Progress
from mien.errors import DataError, UsageError
from mien.hosts import current
from mien.labels import EXPRESSIONS
from mien.materials import Materials, Selection, faces_from_arrays, from_faces, gather
from mien.networks import check_network, digest_of_layers, network
from mien.progress import shown
from mien.runs import RunFolder, data_of
from mien.trainee import check_models
from mien.training_stages import Say, run_stages, without_folders
from mien.training_stages import TrainingResult as TrainingResult
from mien.usermodels import check_model, in_step, remarks

Callbacks: TypeAlias = keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None
"""What Keras's `fit` takes: several, one, or none."""


def train(
    data: str | Path = "FER2013",
    config: TrainingConfig | None = None,
    *,
    out: str | Path | None = None,
    selection: Selection | None = None,
    tests: bool = True,
    resumable: bool = True,
    callbacks: Callbacks = (),
    say: Say | None = None,
    progress: Progress | None = None,
    verbose: bool = True,
    **settings: Any,
) -> TrainingResult:
    """Train a network on a dataset, judge it, and write a run folder.

    The stages: read the data; hold out validation images from Training (stratified, identical images kept together);
    train, with a checkpoint each epoch; export and check the model; read the test splits once and judge.

    Args:
        data: what `mien.datasets.open_dataset` opens.
        config: how to train; the seed's recipe where none is given.
        out: the run folder, new or empty; ``runs/<time>`` where none is given.
        selection: which part of the data to use, such as ``mien.materials.Selection(limit=1000)``.
        tests: whether the test splits are judged on; not while settings are being chosen.
        resumable: whether the data is still there afterwards. Where it is not, nothing says how to go on, and a run
            that ends before its model is saved is deleted.
        callbacks: further Keras callbacks. `ModelCheckpoint` keeps the network alone, as `model.keras` has it;
            `ReduceLROnPlateau` and `LearningRateScheduler` need ``schedule="constant"``.
        say: called with a line as each stage begins, instead of printing anything.
        progress: called with images read so far and in all.
        verbose: print each stage, each epoch and the scores; of several hosts the first does.
        **settings: fields of the config to change: ``epochs=10``, ``augmentation="standard"``.

    Raises:
        UsageError: the path, a setting or the folder is wrong.
        DataError: the data cannot be used.
    """
    config = _given(config)
    config = TrainingConfig.from_dict({**config.to_dict(), **settings}) if settings else config
    theirs = _listed(callbacks, config)
    with shown(verbose and say is None and current().leads) as show:
        watched = [*theirs, *show.callbacks]
        chosen = _chosen(selection)
        told, reading = say or show.say, progress or show.reading
        result = _train(data, config, out, chosen, tests, resumable, watched, told, reading)
        _tell(result, show.say, resumable=resumable)
    return result


def _train(
    data: str | Path,
    config: TrainingConfig,
    out: str | Path | None,
    selection: Selection,
    tests: bool,
    resumable: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    say: Say,
    progress: Progress | None,
) -> TrainingResult:
    """`train`, shown by what is called."""
    if current().leads:
        RunFolder.refuse_used(out)
    check_network(config.network, config.input.size)
    check_models(config)
    check_network_of(config)
    say(f"Reading {data}")
    dataset = open_dataset(data, ferplus=config.ferplus)
    if len(dataset.classes) < 2:
        raise DataError(
            f"{data}: all its images are of one class, {dataset.classes[0]!r}, so there is nothing to learn; each "
            "class has a folder of its own, as train/happy and train/sad"
        )
    materials = gather(dataset, config, selection, progress)
    check_models(config, materials.classes)
    model = _build(config, materials.classes)
    record = {
        "data": {"path": str(Path(data).expanduser().resolve()), **materials.facts},
        "selection": dataclasses.asdict(selection),
        "layers": digest_of_layers(model),
    }
    folder, config = _begin(out, record, materials, config)
    materials = materials if tests else dataclasses.replace(materials, tests=None)
    with _no_trace_if_refused(folder):
        return run_stages(folder, materials, config, callbacks, say, model, resumable=resumable)


def resume(
    run: str | Path,
    *,
    callbacks: Callbacks = (),
    say: Say | None = None,
    progress: Progress | None = None,
    verbose: bool = True,
) -> TrainingResult:
    """Go on with a run that was killed or interrupted, with its own data and settings, as if it had not been.

    Args:
        run: the run's folder.
        callbacks: see `train`.
        say: see `train`.
        progress: see `train`.
        verbose: see `train`.

    Raises:
        UsageError: the folder is not a run, or the run is complete; or this mien's network of that name is another.
        DataError: its data is not what it was.
    """
    with shown(verbose and say is None and current().leads) as show:
        result = _resume(run, callbacks, show.callbacks, say or show.say, progress or show.reading)
        _tell(result, show.say, resumable=True)
    return result


def _resume(
    run: str | Path,
    callbacks: Callbacks,
    showing: Sequence[keras.callbacks.Callback],
    say: Say,
    progress: Progress | None,
) -> TrainingResult:
    """`resume`, shown by what is called."""
    record = current().told_json(lambda: RunFolder.open(run).read_config())
    try:
        config = dataclasses.replace(TrainingConfig.from_dict(record["training"]), precision=record["precision"])
        selection, began_with = Selection(**record["selection"]), record["data"]["sha256"]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{run}: its config.json is no record of this version of mien ({error}); go on with the version that it "
            "began with, or start a new run"
        ) from error
    watched = [*_listed(callbacks, config), *showing]
    data = data_of(run, record)
    say(f"Reading {data}")
    materials = gather(open_dataset(data, ferplus=config.ferplus), config, selection, progress)
    if materials.facts["sha256"] != began_with:
        raise DataError(
            f"{data}: the training images are not those that {run} began with; restore them, or start a new run"
        )
    model = _build(config, materials.classes)
    began = record.get("layers")  # older records have none; of their networks, vgg has changed
    if began != digest_of_layers(model) and (began or config.network == "vgg"):
        raise UsageError(
            f"{run}: began with a network {config.network!r} of other layers than this version of mien has; go on with "
            "the version that it began with, or start a new run"
        )
    return run_stages(RunFolder(Path(run)), materials, config, watched, say, model)


def _build(config: TrainingConfig, classes: Sequence[str]) -> keras.Model:
    """The untrained network that a config names."""
    size, channels = config.input.size, config.input.channels
    return network(config.network, size=size, channels=channels, classes=len(classes), seed=config.seed)


def fit(
    model: keras.Model,
    x_train: ArrayLike,
    y_train: ArrayLike,
    x_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    *,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    config: TrainingConfig | None = None,
    classes: Sequence[str] = EXPRESSIONS,
    out: str | Path | None = None,
    callbacks: Callbacks = (),
    verbose: bool = True,
    **settings: Any,
) -> TrainingResult:
    """Train and evaluate a network on arrays, as `mien.load_data` gives them, and save it.

    Args:
        model: a Keras network from (n, size, size, channels) in [0, 1] to probabilities; it is trained in place.
        x_train: float (n, size, size, channels) in [0, 1], or uint8 in 0..255.
        y_train: integers (n,), indices into `classes`, or one-hot rows (n, classes).
        x_test: as `x_train`; judged once, at the end. None for no test.
        y_test: as `y_train`.
        validation_data: images and labels, as `x_train` and `y_train`, to watch epochs by; None to hold out a part of
            those (``validation_fraction``).
        config: how to train; the seed's recipe where none is given.
        classes: names of the outputs.
        out: the run folder, new or empty; ``runs/<time>`` where none is given. It will hold ``face_detection.h5``.
        callbacks: see `train`.
        verbose: print each stage, each epoch and the scores; of several hosts the first does.
        **settings: fields of `TrainingConfig` to change: ``epochs=10``, ``batch_size=64``, ``augmentation="standard"``.

    Returns:
        The result; `mien.show_results` draws its history.

    Raises:
        UsageError: a model or arrays of the wrong shape, range or length, or unknown settings.
        ModelError: the model does not give probabilities.
    """
    spec = check_model(model, classes)
    for name in ("network", "input"):
        if name in settings:
            raise UsageError(f"{name}: is that of the model that is trained; leave it out")
    if (x_test is None) != (y_test is None):
        raise UsageError("x_test and y_test: give both, or neither")
    notes = remarks(model, chosen=config is not None or not {"optimizer", "learning_rate"}.isdisjoint(settings))
    base = _given(config).to_dict()
    config = TrainingConfig.from_dict({**base, **settings, "input": spec, "network": model.name})
    theirs = in_step(model, _listed(callbacks, config))
    halves = {"x_train": (x_train, y_train)}
    if x_test is not None and y_test is not None:
        halves["x_test"] = (x_test, y_test)
    if validation_data is not None:
        halves["x_val"] = _pair(validation_data)
    if config.ferplus != "none":
        raise UsageError(f"ferplus: arrays come with their labels, and have no votes; received {config.ferplus!r}")
    check_models(config, classes)
    materials = from_faces(faces_from_arrays(halves, config.input, tuple(classes)), config, Selection())
    folder, config = _begin(out, {"data": materials.facts}, materials, config)
    with _no_trace_if_refused(folder, own=True), shown(verbose and current().leads) as show:
        for note in notes:
            show.say(note)
        result = run_stages(folder, materials, config, [*theirs, *show.callbacks], show.say, model, own=True)
        _tell(result, show.say, resumable=False)
        return result


def _pair(validation_data: Any) -> tuple[ArrayLike, ArrayLike]:
    """Validation images and their labels.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
        kind = type(validation_data).__name__
        raise UsageError(f"validation_data: must be images and their labels, (x_val, y_val), received {kind}")
    images, labels = validation_data
    return images, labels


def _listed(callbacks: Callbacks, config: TrainingConfig) -> list[keras.callbacks.Callback]:
    """The callbacks in a list, once they are seen to fit the run.

    Raises:
        UsageError: one is no callback of Keras's, or sets the learning rate, which the schedule sets.
    """
    listed: list[Any] = keras.tree.flatten(callbacks) if callbacks else []
    rating = keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler
    for one in listed:
        if not isinstance(one, keras.callbacks.Callback):
            raise UsageError(
                f"callbacks: must be Keras callbacks, such as keras.callbacks.TensorBoard('logs'), received {one!r}"
            )
        if isinstance(one, keras.callbacks.BackupAndRestore):
            raise UsageError(
                "callbacks: BackupAndRestore is not needed, as the run folder keeps checkpoints; leave it out"
            )
        if isinstance(one, keras.callbacks.SwapEMAWeights):
            raise UsageError("callbacks: SwapEMAWeights is not needed, as ema=0.99 averages weights; leave it out")
        if isinstance(one, rating) and config.schedule != "constant":
            raise UsageError(
                f"callbacks: {type(one).__name__} sets the learning rate, and so does the schedule "
                f"{config.schedule!r}; give schedule='constant', or leave the callback out"
            )
    return listed


def _tell(result: TrainingResult, say: Say, *, resumable: bool) -> None:
    """Say what came of a run."""
    for split, score in result.scores.items():
        low, high = score.accuracy_interval
        say(f"{split}: accuracy {score.accuracy:.1%} (95% interval {low:.1%} to {high:.1%}), n = {score.n:,}")
    if not result.interrupted:
        say(f"Saved in {result.folder}")
        return
    way = f"; mien.resume({str(result.folder)!r}) goes on" if resumable else ""
    say(f"Interrupted: the model of epoch {result.epoch} is saved in {result.folder}{way}")


def _given(config: TrainingConfig | None) -> TrainingConfig:
    """The config, or the seed's recipe where none is given.

    Raises:
        UsageError: it is something else, such as a recipe's name.
    """
    if config is not None and not isinstance(config, TrainingConfig):
        raise UsageError(f"config: must be a TrainingConfig, such as mien.recipe('cpu') gives, received {config!r}")
    return config or TrainingConfig()


def _chosen(selection: Selection | None) -> Selection:
    """The selection, or all of the data where none is given.

    Raises:
        UsageError: it is something else.
    """
    if selection is not None and not isinstance(selection, Selection):
        raise UsageError(
            f"selection: must be a Selection, such as mien.materials.Selection(limit=1000), received {selection!r}"
        )
    return selection or Selection()


@contextmanager
def _no_trace_if_refused(folder: RunFolder, *, own: bool = False) -> Iterator[None]:
    """Leave no folder of a new run whose request turns out to be wrong, which would be in the way of the right one.

    `own` says that nothing can go on with the run, whose data are arrays: then none that failed before its first
    checkpoint, as by a mistake in a callback, leaves one either.
    """
    try:
        yield
    except Exception as error:
        if current().leads and (own or isinstance(error, UsageError)):
            folder.discard_untrained()
        raise


def _begin(
    out: str | Path | None, record: dict[str, Any], materials: Materials, config: TrainingConfig
) -> tuple[RunFolder, TrainingConfig]:
    """Make the run folder and write config.json, of several hosts on the first, once all are seen to want the same.

    Returns:
        The folder, and the config, whose precision is the first host's where there are several.

    Raises:
        UsageError: the folder cannot be made, or this host has other images or settings than the first.
    """
    hosts = current()
    precision = hosts.told_json(lambda: backend.choose_precision(config.precision))
    hosts.refuse_difference("training images (SHA-256)", materials.facts["sha256"])
    hosts.refuse_difference("settings", json.loads(json.dumps(without_folders(config))))
    folder = RunFolder(Path(hosts.told_json(lambda: str(RunFolder.create(out).path))))
    if hosts.leads:
        folder.write_config({**record, "training": config.to_dict(), "precision": precision})
    return folder, dataclasses.replace(config, precision=precision) if hosts.count > 1 else config
