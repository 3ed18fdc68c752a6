"""The stages that every run of `mien.training` shares: learn, save, judge, draw; and what it gives."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from mien import backend
from mien.artefacts import calibrate, describe_models, save_models
from mien.beginning import begin
from mien.cards import run_card
from mien.checkpoints import OvertakenError, columns
from mien.classifier import Model
from mien.config import TrainingConfig
from mien.datasets.origins import of_others
from mien.errors import ModelError, listing, many
from mien.evaluation import Evaluation, evaluate
from mien.export import describe
from mien.files import write_json, write_text
from mien.framing import FER2013_MARGIN
from mien.hosts import current
from mien.judging import judge_answers
from mien.learning import Learned, learn
from mien.materials import Materials
from mien.modelspec import ModelSpec
from mien.reports import plot_confusion, plot_curves
from mien.runs import CHECKPOINTS, RunFolder, forget_views
from mien.teaching import taught

TEACHING = ("teacher_weight", "teacher_view", "teacher_views")
"""Settings that say nothing without a teacher."""

Say = Callable[[str], None]
"""Takes a line for people as a stage of the work begins."""


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        scores = "".join(f", {name} {score.accuracy:.1%}" for name, score in self.scores.items())
        ended = ", interrupted" if self.interrupted else ""
        epochs = len(self.history.get("epoch", ()))
        return f"<TrainingResult in {self.folder}: epoch {self.epoch} of {epochs} kept{scores}{ended}>"

    def _repr_png_(self) -> bytes | None:
        """The curves, where a notebook shows the result."""
        curves = self.folder / "curves.png"
        return curves.read_bytes() if curves.is_file() else None


def run_stages(
    folder: RunFolder,
    materials: Materials,
    config: TrainingConfig,
    callbacks: Sequence[keras.callbacks.Callback],
    say: Say,
    model: keras.Model,
    *,
    own: bool = False,
    resumable: bool = True,
) -> TrainingResult:
    """Train, export, judge and draw: the stages that every way of starting a run shares.

    `own` says that the model was given to `fit`, rather than named; `resumable`, that the data stays.
    """
    if config.deterministic:
        backend.make_deterministic()
    left = folder.leftovers() if current().leads else {}
    with _telling_what_is_kept(folder, say, own=own, resumable=resumable):
        learned = _learn(model, config, materials, folder, callbacks, say, own=own)
        model = backend.in_float32(model)  # one that was given to `fit` may compute otherwise
        trained_on = {**materials.facts, "recipe": without_folders(config)}
        description = describe(model, materials.classes, crop_margin=FER2013_MARGIN, trained_on=trained_on)
        if not current().leads:
            say(f"Host 0 saves and judges the model of epoch {learned.epoch}")
            return TrainingResult(
                folder.path, model, description, columns(learned.history), {}, learned.epoch, learned.interrupted
            )
        result = _save_and_judge(folder, model, description, learned, materials, config, say, own=own)
    folder.clear(left)
    return result


@contextmanager
def _telling_what_is_kept(folder: RunFolder, say: Say, *, own: bool, resumable: bool) -> Iterator[None]:
    """Where a run ends early, as at a full disk or at Ctrl-C while the model is saved, say how to go on with it.

    One whose data goes away is deleted.
    """
    try:
        yield
    except (ModelError, OvertakenError):  # a checkpoint cannot be read; another process goes on with the run
        raise
    except BaseException:
        if current().leads and not own and any((folder.path / CHECKPOINTS).glob("epoch-*")):
            if resumable:
                where = shlex.quote(str(folder.path))
                say(f"What was learned until now is kept; --resume {where} (in Python mien.resume) goes on")
            else:
                folder.discard()
                say("Nothing is kept of what was learned until now, as its data is deleted; begin again")
        raise


def _save_and_judge(
    folder: RunFolder,
    model: keras.Model,
    description: ModelSpec,
    learned: Learned,
    materials: Materials,
    config: TrainingConfig,
    say: Say,
    *,
    own: bool,
) -> TrainingResult:
    """What follows learning, on the host that leads."""
    share = f", with {config.init_share:g} of the weights that it began with" if config.init_share else ""
    say(f"Saving the model of epoch {learned.epoch}{share}")
    judge = save_models(folder.path, model, description, _warn if own else say)
    description, judge = calibrate(folder.path, model, judge, description, materials.validation, say)
    scores = _judge(judge, materials, learned)
    if not learned.interrupted:
        judged = ", ".join(name for name in scores if name != "validation")
        nothing = "There is no test split to judge it on" if materials.tests else "The test splits were left unread"
        say(f"Judged it on {judged}" if judged else nothing)
    return _finish(folder, model, description, learned, scores)


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
        say(f"Cut the images to their faces; left whole, as MTCNN finds none: {facts['without_face']:,}")
    if facts.get("duplicates_left_out") is not None:
        say(f"Left out {many(facts['duplicates_left_out'], 'training image')} found in a test split as well")
    if materials.skipped:
        left_out = many(len(materials.skipped), "file or row", "files or rows")
        say(f"Left out {left_out} that cannot be used: {listing(materials.skipped)}")
    say(
        f"Training {config.network} ({many(model.count_params(), 'parameter')}) on {many(facts['n_train'], 'image')}, "
        f"{facts['n_validation']:,}{of_others(facts)} to watch it by"
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


def without_folders(config: TrainingConfig) -> dict[str, Any]:
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


def _warn(line: str) -> None:
    """Say it as a warning of Python's: of what is not as it was to be, where nobody reads along."""
    warnings.warn(line, stacklevel=6)  # the line that calls `fit`
