"""`judge_dataset`: a model on a dataset of any size, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.classifier import Model
from mien.datasets.dataset import Dataset, refuse_bad
from mien.datasets.duplicates import pixel_digests
from mien.datasets.facing import Detect, with_faces
from mien.datasets.pixels import Progress
from mien.datasets.streaming import in_parts
from mien.errors import UsageError
from mien.evaluation import Evaluation, align_labels, judge_splits
from mien.preprocessing import InputSpec
from mien.views import predict_views


@dataclass(frozen=True)
class Judgement:
    """What a model scored on a split of a dataset.

    Attributes:
        scores: the split, and for ``test`` also ``public`` and ``private`` where the data has them.
        format: what the dataset was found to be, in words.
        unlabelled: how many faces have no label and were left out.
        skipped: files and rows that could not be used, each with its reason.
        without_face: how many images have no face that was found, and stayed whole; None where none was looked for.
        duplicates_left_out: how many labelled faces were left out as they also stand in Training; None where none was
            looked for.
    """

    scores: dict[str, Evaluation]
    format: str
    unlabelled: int
    skipped: tuple[str, ...]
    without_face: int | None = None
    duplicates_left_out: int | None = None


def judge_dataset(
    model: Model,
    dataset: Dataset,
    *,
    split: str = "test",
    tta: str = "none",
    batch_size: int | None = None,
    skip_bad: bool = False,
    detect_faces: Detect | None = None,
    without_duplicates: bool = False,
    progress: Progress | None = None,
) -> Judgement:
    """Judge a model on a split of a dataset, its labels brought to the model's class order by name.

    Args:
        model: what `mien.open_model` gave.
        dataset: what `mien.open_dataset` gave.
        split: train, val, public, private, test (all of the test images) or all.
        tta: a key of `mien.evaluation.TTA`.
        batch_size: images that go through the network at once; None: by their size.
        skip_bad: leave out files and rows that cannot be used instead of refusing the dataset.
        detect_faces: whether each image is cut to its largest face; None: as the model was trained.
        without_duplicates: leave out faces whose pixels, at the model's input size, also stand in the dataset's
            training split, which is read for that.
        progress: called with how many are read and how many there are.

    Raises:
        UsageError: the data lacks the split or its labels, or has classes that the model has not; or duplicates of
            Training are to be left out, and there is no Training, or the split has it in itself.
        DataError: something cannot be used.
    """
    refuse_bad(dataset.problems, len(dataset) + len(dataset.problems), skip_bad=skip_bad)
    if detect_faces is None:
        detect_faces = bool(model.spec.trained_on.get("detect_faces", False))
    dataset.select(split)  # refuses a split that the data lacks before any work is done
    if without_duplicates:
        _refuse_no_training(dataset, split)
    dataset, missed = with_faces(dataset, detect_faces, progress=progress)
    learnt = _training_digests(dataset, model.spec.input, progress) if without_duplicates else None
    parts = in_parts(dataset.select(split), model.spec.input, skip_bad=skip_bad, progress=progress)
    unlabelled, copies, skipped = 0, 0, list(dataset.problems)
    answers: list[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_]]] = []
    for faces in parts:
        known = faces.labelled()
        unlabelled += len(faces) - len(known)
        skipped += faces.skipped
        if learnt is not None:
            copy = np.isin(pixel_digests(known.images), learnt)
            copies += int(copy.sum())
            known = known.take(~copy)
        labels = align_labels(known.labels, known.classes, model.spec.classes)
        views = predict_views(lambda images: model.predict(images, batch_size), known.images, tta)
        answers.append((views, labels, known.splits))
    if copies and not any(len(labels) for _, labels, _ in answers):
        raise UsageError(f"without_duplicates: all {copies:,} faces of {split!r} also stand in Training; none is left")
    scores = judge_answers(answers, classes=model.spec.classes, tta=tta, split=split)
    left_out = copies if without_duplicates else None
    return Judgement(scores, dataset.format, unlabelled, tuple(skipped), missed, left_out)


def _refuse_no_training(dataset: Dataset, split: str) -> None:
    if split in ("train", "all"):
        raise UsageError(f"without_duplicates: is for splits that Training is no part of, received split {split!r}")
    if "train" not in dataset.splits:
        raise UsageError("without_duplicates: needs the training split to compare with, and this data has none")


def _training_digests(dataset: Dataset, spec: InputSpec, progress: Progress | None) -> NDArray[np.bytes_]:
    """What `pixel_digests` gives for the training split; files that cannot be read were not learnt from either."""
    parts = in_parts(dataset.select("train"), spec, skip_bad=True, progress=progress)
    return np.concatenate([pixel_digests(faces.images) for faces in parts])


def judge_answers(
    answers: Iterable[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.str_]]],
    *,
    classes: tuple[str, ...],
    tta: str = "none",
    split: str = "test",
) -> dict[str, Evaluation]:
    """Metrics of probabilities, labels and splits that come in parts; see `mien.evaluation.judge_splits`.

    Raises:
        UsageError: there is none with a label.
    """
    columns = [np.concatenate(column) for column in zip(*answers, strict=True)]
    if not columns or not len(columns[0]):
        raise UsageError(f"split: no face of {split!r} has a label to judge by")
    probabilities, labels, splits = columns
    return judge_splits(probabilities, labels, splits, classes=classes, tta=tta, split=split)
