"""Targets from teachers that were asked once about each training image, before training (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.answers import ask
from mien.classifier import open_model
from mien.config import TrainingConfig
from mien.errors import DataError, UsageError
from mien.feeding import ArraySource, Source
from mien.files import replacing
from mien.weights import find_model

TTA = "flip"
"""Views that the teachers' answers are the mean of."""


def taught(
    source: Source, config: TrainingConfig, classes: int, stored: Path, say: Callable[[str], None]
) -> ArraySource:
    """The same images, with the teachers' answers mixed into their targets.

    Args:
        source: the training images, in memory.
        config: names the teachers, and their share of the targets.
        classes: number of outputs.
        stored: an ``.npy`` file for the teachers' mean answer, float32 (n, classes); read where it is there already, so
            that a resumed run asks nothing twice.
        say: takes a line for people before the work.

    Raises:
        UsageError: the images are not in memory.
        DataError: the stored answers are not of these images.
        ModelError: a teacher cannot be read.
    """
    if not isinstance(source, ArraySource):
        raise UsageError(
            "teacher_view: plain needs the training images in memory, and they are streamed; use --in-memory, or "
            "--set teacher_view=same"
        )
    if not stored.exists():
        count = len(config.teachers)
        teachers = "teacher" if count == 1 else "teachers"
        say(f"Asking {count} {teachers} about {len(source.labels):,} training images")
        answers = _mean_answer(config.teachers, source.images)
        with replacing(stored) as temporary:
            np.save(temporary, answers)
    answers = _read(stored, (len(source.labels), classes))
    own = np.eye(classes, dtype=np.float32)[source.labels] if source.targets is None else source.targets
    targets = config.teacher_weight * answers + (1 - config.teacher_weight) * own
    return ArraySource(source.images, source.labels, source.workers, targets.astype(np.float32))


def _mean_answer(teachers: tuple[str, ...], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """At temperature 1, whatever the teachers' files say: float32 (n, classes)."""
    answers = [ask(open_model(find_model(path)), images, tta=TTA)[1] for path in teachers]
    return np.asarray(np.mean(answers, axis=0, dtype=np.float64), np.float32)


def _read(stored: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        answers: NDArray[np.float32] = np.load(stored, allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        raise DataError(f"{stored}: cannot be read ({error}); delete it to ask the teachers again") from error
    if answers.shape != shape:
        raise DataError(
            f"{stored}: holds answers of shape {answers.shape}, but the training images need {shape}; delete it to "
            "ask the teachers again"
        )
    return answers
