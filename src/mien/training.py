"""`train` and `fit`: from labelled faces to a run folder with the model, its history and its honest scores."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from mien import backend
from mien.artefacts import calibrate, describe_models, save_models
from mien.beginning import begin, check_network_of
from mien.cards import run_card
from mien.checkpoints import columns
from mien.classifier import Model
from mien.config import TrainingConfig
from mien.datasets import open_dataset
from mien.datasets.pixels import Progress
from mien.errors import DataError, UsageError, listing
from mien.evaluation import Evaluation, evaluate
from mien.export import describe
from mien.files import write_json, write_text
from mien.framing import FER2013_MARGIN
from mien.hosts import current
from mien.judging import judge_answers
from mien.labels import EXPRESSIONS
from mien.learning import Learned, learn
from mien.materials import Materials, Selection, faces_from_arrays, from_faces, gather
from mien.modelspec import ModelSpec
from mien.networks import check_network, digest_of_layers, network
from mien.reports import plot_confusion, plot_curves
from mien.runs import RunFolder, forget_views
from mien.teaching import taught
from mien.trainee import check_models
from mien.usermodels import check_model

TEACHING = ("teacher_weight", "teacher_view", "teacher_views")
"""Settings that say nothing without a teacher."""

Say = Callable[[str], None]
"""Takes a line for people as a stage of the work begins."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run gave.

    Attributes:
        folder: the run folder, with everything below in files.
        model: the trained network, float32, stock layers.
        spec: what its files say about themselves.
        history: name to values, one an epoch: epoch, accuracy, loss, val_accuracy, val_loss, learning_rate, seconds.
        scores: split to evaluation: ``validation``, and the test splits, which are read once, at the end.
        epoch: the epoch, from 1, that was kept.
        interrupted: whether Ctrl-C ended it early; the test splits are then left unread.
    """

    folder: Path
    model: keras.Model
    spec: ModelSpec
    history: dict[str, list[float]]
    scores: dict[str, Evaluation]
    epoch: int
    interrupted: bool


def train(
    data: str | Path = "FER2013",
    config: TrainingConfig | None = None,
    *,
    out: str | Path | None = None,
    selection: Selection | None = None,
    tests: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Say | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a network on a dataset, judge it, and write a run folder.

    The stages: read the data; hold out validation images from Training (stratified, identical images kept together);
    train, with a checkpoint each epoch; export and check the model; read the test splits once and judge.

    Args:
        data: what `mien.datasets.open_dataset` opens.
        config: how to train; the seed's recipe where none is given.
        out: the run folder, new or empty; ``runs/<time>`` where none is given.
        selection: which part of the data to use.
        tests: whether the test splits are judged on; not while settings are being chosen.
        callbacks: further Keras callbacks.
        say: called with a line as each stage begins.
        progress: called with images read so far and in all.

    Raises:
        UsageError: the path, a setting or the folder is wrong.
        DataError: the data cannot be used.
    """
    config, selection, say = _given(config), selection or Selection(), say or _silent
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
        return _run(folder, materials, config, callbacks, say, model)


def resume(
    run: str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Say | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Go on with a run that was killed or interrupted, with its own data and settings, as if it had not been.

    Raises:
        UsageError: the folder is not a run, or the run is complete; or this mien's network of that name is another.
        DataError: its data is not what it was.
    """
    say = say or _silent
    record = current().told_json(lambda: RunFolder.open(run).read_config())
    config = dataclasses.replace(TrainingConfig.from_dict(record["training"]), precision=record["precision"])
    data = record["data"]["path"]
    say(f"Reading {data}")
    materials = gather(open_dataset(data, ferplus=config.ferplus), config, Selection(**record["selection"]), progress)
    if materials.facts["sha256"] != record["data"]["sha256"]:
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
    return _run(RunFolder(Path(run)), materials, config, callbacks, say, model)


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
    config: TrainingConfig | None = None,
    classes: Sequence[str] = EXPRESSIONS,
    out: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> TrainingResult:
    """Train and evaluate a network on arrays, as `mien.load_data` gives them, and save it.

    Args:
        model: a Keras network from (n, size, size, channels) in [0, 1] to probabilities; it is trained in place.
        x_train: float (n, size, size, channels) in [0, 1], or uint8 in 0..255.
        y_train: integers (n,), indices into `classes`.
        x_test: as `x_train`; judged once, at the end. None for no test.
        y_test: as `y_train`.
        config: how to train; the seed's recipe where none is given.
        classes: names of the outputs.
        out: the run folder, new or empty; ``runs/<time>`` where none is given. It will hold ``face_detection.h5``.
        callbacks: further Keras callbacks.
        **settings: fields of `TrainingConfig` to change: ``epochs=10``, ``batch_size=64``...

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
    base = _given(config).to_dict()
    config = TrainingConfig.from_dict({**base, **settings, "input": spec, "network": model.name})
    halves = {"x_train": (x_train, y_train)}
    if x_test is not None and y_test is not None:
        halves["x_test"] = (x_test, y_test)
    if config.ferplus != "none":
        raise UsageError(f"ferplus: arrays come with their labels, and have no votes; received {config.ferplus!r}")
    check_models(config, classes)
    materials = from_faces(faces_from_arrays(halves, config.input, tuple(classes)), config, Selection())
    folder, config = _begin(out, {"data": materials.facts}, materials, config)
    with _no_trace_if_refused(folder):
        return _run(folder, materials, config, callbacks, _silent, model, own=True)


def _given(config: TrainingConfig | None) -> TrainingConfig:
    """The config, or the seed's recipe where none is given.

    Raises:
        UsageError: it is something else, such as a recipe's name.
    """
    if config is not None and not isinstance(config, TrainingConfig):
        raise UsageError(f"config: must be a TrainingConfig, such as mien.recipe('cpu') gives, received {config!r}")
    return config or TrainingConfig()


@contextmanager
def _no_trace_if_refused(folder: RunFolder) -> Iterator[None]:
    """Leave no folder of a new run whose request turns out to be wrong, which would be in the way of the right one."""
    try:
        yield
    except UsageError:
        if current().leads:
            folder.discard_untrained()
        raise


def _run(
    folder: RunFolder,
    materials: Materials,
    config: TrainingConfig,
    callbacks: Sequence[keras.callbacks.Callback],
    say: Say,
    model: keras.Model,
    *,
    own: bool = False,
) -> TrainingResult:
    """Train, export, judge and draw: the stages that every way of starting a run shares.

    `own` says that the model was given to `fit`, rather than named.
    """
    if config.deterministic:
        backend.make_deterministic()
    left = folder.leftovers() if current().leads else {}
    learned = _learn(model, config, materials, folder, callbacks, say, own=own)
    model = backend.in_float32(model)  # one that was given to `fit` may compute otherwise
    trained_on = {**materials.facts, "recipe": _without_folders(config)}
    description = describe(model, materials.classes, crop_margin=FER2013_MARGIN, trained_on=trained_on)
    if not current().leads:
        say(f"Host 0 saves and judges the model of epoch {learned.epoch}")
        return TrainingResult(
            folder.path, model, description, columns(learned.history), {}, learned.epoch, learned.interrupted
        )
    share = f", with {config.init_share:g} of the weights that it began with" if config.init_share else ""
    say(f"Saving the model of epoch {learned.epoch}{share}")
    judge = save_models(folder.path, model, description, _warn if own else say)
    description, judge = calibrate(folder.path, model, judge, description, materials.validation, say)
    scores = _judge(judge, materials, learned)
    if not learned.interrupted:
        judged = ", ".join(name for name in scores if name != "validation")
        nothing = "There is no test split to judge it on" if materials.tests else "The test splits were left unread"
        say(f"Judged it on {judged}" if judged else nothing)
    result = _finish(folder, model, description, learned, scores)
    folder.clear(left)
    return result


def _learn(
    model: keras.Model,
    config: TrainingConfig,
    materials: Materials,
    folder: RunFolder,
    callbacks: Sequence[keras.callbacks.Callback],
    say: Say,
    *,
    own: bool,
) -> Learned:
    """Begin where it is to begin, ask the teachers, if any, and learn.

    Raises:
        KeyboardInterrupt: it was interrupted before anything was learned.
    """
    kept = folder.path / "checkpoints"
    start = begin(model, config, materials.classes, kept, say, own=own) if config.init else None
    _announce(config, materials, model, say)
    held = materials.validation
    validation = None if held is None else (held.images, held.labels)
    source = materials.source
    with TemporaryDirectory(prefix="mien-") as apart:  # each of several hosts asks the teachers itself
        kept = kept if current().leads else Path(apart)
        if config.teachers and config.teacher_view != "same":
            source = taught(source, config, model, kept, say)
        learned = learn(model, config, source, validation, folder.path, callbacks, start)
        del source  # which may hold a file open that is deleted at the end
    if not learned.epoch:
        say(f"Interrupted before a checkpoint was written: no model is kept, and {folder.path} can be deleted")
        raise KeyboardInterrupt
    return learned


def _announce(config: TrainingConfig, materials: Materials, model: keras.Model, say: Say) -> None:
    """Say what is about to be trained, on what images and devices."""
    facts = materials.facts
    if facts.get("without_face") is not None:
        say(f"Cut the images to their faces; {facts['without_face']:,} have none that MTCNN finds, and stay whole")
    if facts.get("duplicates_left_out") is not None:
        say(f"Left out {facts['duplicates_left_out']:,} training images that also stand in a test split")
    if materials.skipped:
        say(f"{len(materials.skipped):,} files or rows cannot be used and are left out: {listing(materials.skipped)}")
    say(
        f"Training {config.network} ({model.count_params():,} parameters) on {facts['n_train']:,} images, "
        f"{facts['n_validation']:,} to watch it by"
    )
    for note in _notes(config, materials):
        say(note)
    if devices := backend.devices_in_words():
        say(devices)


def _notes(config: TrainingConfig, materials: Materials) -> Iterator[str]:
    """What may not be as it was meant."""
    counts = np.bincount(materials.source.labels, minlength=len(materials.classes))
    if missing := [name for name, count in zip(materials.classes, counts, strict=True) if not count]:
        yield f"No training image shows {', '.join(missing)}: the network cannot learn to tell them"
    if config.early_stopping and materials.validation is None:
        yield "There are no validation images to watch, so early stopping never ends it"
    asked = [name for name in TEACHING if getattr(config, name) != getattr(TrainingConfig(), name)]
    if asked and not config.teachers:
        yield (
            f"No teacher is named, so it learns from the labels alone, and {', '.join(asked)} changes nothing; "
            "--teacher MODEL names one"
        )
    watched = materials.facts["validation"]
    if watched in ("val", "public") and config.validation_fraction != TrainingConfig().validation_fraction:
        yield f"It is watched by the data's split {watched}, so nothing is held out, whatever validation_fraction says"


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
    hosts.refuse_difference("settings", json.loads(json.dumps(_without_folders(config))))
    folder = RunFolder(Path(hosts.told_json(lambda: str(RunFolder.create(out).path))))
    if hosts.leads:
        folder.write_config({**record, "training": config.to_dict(), "precision": precision})
    return folder, dataclasses.replace(config, precision=precision) if hosts.count > 1 else config


def _without_folders(config: TrainingConfig) -> dict[str, Any]:
    """The config as model files tell it: other models by name only, not by where they lay on this machine."""
    names = [Path(path).name for path in config.teachers]
    return {**config.to_dict(), "teachers": names, "init": Path(config.init).name}


def _judge(model: Model, materials: Materials, learned: Learned) -> dict[str, Evaluation]:
    """Judge the model on validation, and on the test splits once."""
    scores = {}
    held = materials.validation
    untested = learned.interrupted or materials.tests is None
    watched_public = held is not None and set(held.splits) == {"public"}  # which is judged as itself below
    if held is not None and not (watched_public and not untested):
        scores["validation"] = evaluate(
            model.predict, held.images, held.labels, classes=materials.classes, split="validation"
        )
    if learned.interrupted or materials.tests is None:
        return scores
    answers = [(model.predict(faces.images), faces.labels, faces.splits) for faces in materials.tests()]
    if answers:
        scores |= _without_echo(judge_answers(answers, classes=materials.classes))
    return scores


def _without_echo(scores: dict[str, Evaluation]) -> dict[str, Evaluation]:
    """Leave ``test`` out where one of its parts is all of it."""
    echo = any(score.n == scores["test"].n for name, score in scores.items() if name != "test")
    return {name: score for name, score in scores.items() if name != "test" or not echo}


def _finish(
    folder: RunFolder, model: keras.Model, description: ModelSpec, learned: Learned, scores: dict[str, Evaluation]
) -> TrainingResult:
    """Write the files of the run folder; metrics.json is last, and says that the run is complete."""
    path = folder.path
    summary = {name: {"accuracy": score.accuracy, "n": score.n, "tta": score.tta} for name, score in scores.items()}
    description = dataclasses.replace(description, scores=summary)
    describe_models(path, model, description)
    history = columns(learned.history)
    plot_curves(history, path / "curves.png", kept=learned.epoch)
    if scores:
        plot_confusion(scores[max(scores, key=_publicity)], path / "confusion.png")
    result = TrainingResult(path, model, description, history, scores, learned.epoch, learned.interrupted)
    write_text(path / "README.md", run_card(folder.read_config(), description, scores, interrupted=learned.interrupted))
    if not learned.interrupted:
        document = {"epoch": learned.epoch, "splits": {name: score.to_dict() for name, score in scores.items()}}
        forget_views(path / "checkpoints")
        write_json(path / "metrics.json", document)
    return result


def _publicity(split: str) -> int:
    """Which split's confusion is drawn: all of the test where there is one, validation if nothing else."""
    return ("validation", "private", "public", "test").index(split)


def _silent(line: str) -> None:
    """Say nothing."""


def _warn(line: str) -> None:
    """Say it as a warning of Python's: of what is not as it was to be, where nobody reads along."""
    warnings.warn(line, stacklevel=5)  # the line that calls `fit`
