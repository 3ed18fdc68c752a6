"""`judge_dataset`: a model on a dataset of any size, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.answers import Answers, ask
from mien.classifier import Model
from mien.datasets.dataset import Dataset, Faces, refuse_bad
from mien.datasets.facing import Detect, count_without_face, needs_detection, with_faces
from mien.datasets.learnt import MOST_PAIRS, Learnt
from mien.datasets.pixels import Progress
from mien.datasets.storage import encode_names
from mien.datasets.streaming import in_parts
from mien.errors import UsageError, many
from mien.evaluation import Evaluation, align_labels, judge_splits
from mien.kinship import may_have_learnt
from mien.labels import canonical
from mien.leakage import Leakage, measure_leakage
from mien.preprocessing import InputSpec


@dataclass(frozen=True)
class Judgement:
    """What a model scored on a split of a dataset.

    Attributes:
        scores: the split, and for ``test`` also ``public`` and ``private`` where the data has them.
        format: what the dataset was found to be, in words.
        unlabelled: how many faces have no label and were left out.
        skipped: files and rows that could not be used, each with its reason.
        without_face: how many of the images that `scores` are of have no face that was found, and stayed whole; None
            where none was looked for.
        duplicates_left_out: how many labelled faces were left out as they also stand in Training; None where none was
            to be left out.
        leakage: scores with and without the faces that also stand in Training; None where these were not looked for.
        learnt: whether the model may have learned from this dataset: see `mien.kinship.may_have_learnt`.
        photographs: whether the images look like photographs and were judged whole without anybody asking for that.
        answers: what the model said of each face that `scores` are of. In memory only.
        dataset: these images in this order, cut to faces where that was asked for. In memory only.
    """

    scores: dict[str, Evaluation]
    format: str
    unlabelled: int
    skipped: tuple[str, ...]
    without_face: int | None
    duplicates_left_out: int | None
    leakage: Leakage | None
    learnt: bool
    photographs: bool
    answers: Answers = field(repr=False, compare=False)
    dataset: Dataset = field(repr=False, compare=False)

    def load(self, rows: ArrayLike, spec: InputSpec | None = None) -> Faces:
        """Read the images of some rows of `answers`, in this order.

        Args:
            rows: integers, or booleans (n,).
            spec: size and colour to bring them to; 48 x 48 grey where none is given.

        Raises:
            DataError: a file cannot be read any more.
        """
        return self.dataset.take(rows).load(spec)


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
    find_duplicates: bool = False,
    learnt_from: Dataset | None = None,
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
        find_duplicates: measure what these faces do to the score, and leave them in. Where there is no Training, the
            split has it in itself, or the model's file says that it learned from other data, nothing is looked for.
            Nearly identical ones are looked for too, where that does not take too long.
        learnt_from: the dataset whose training split is compared with; None: `dataset`. Where faces were left out of
            that, give the whole: a model may have learned from them all the same.
        progress: called with how many are read and how many there are.

    Raises:
        UsageError: the data lacks the split or its labels, or has classes that the model has not; or duplicates of
            Training are to be left out, and there is no Training, or the split has it in itself.
        DataError: something cannot be used.
    """
    refuse_bad(dataset.problems, len(dataset) + len(dataset.problems), skip_bad=skip_bad)
    asked = dataset.select(split)  # refuses a split that the data lacks before any work is done
    align_labels(asked.labels, asked.classes, model.spec.classes)  # and classes that the model lacks
    left_open = detect_faces is None
    if detect_faces is None:
        detect_faces = bool(model.spec.trained_on.get("detect_faces", False))
    source = dataset if learnt_from is None else learnt_from
    if without_duplicates:
        _refuse_no_training(source, split)
    cut, _ = with_faces(dataset, detect_faces, progress=progress)
    chosen = replace(cut.select(split), problems=())  # which are counted apart
    kin = may_have_learnt(model.spec.trained_on, source.format, source.counts())
    learnt = None
    if without_duplicates or (find_duplicates and kin and _comparable(source, split)):
        whole = cut if source is dataset else with_faces(source, detect_faces, progress=progress)[0]
        learnt = _learnt(whole, len(chosen), model.spec.input, progress)
    parts, skipped, unlabelled = list[Answers](), list(dataset.problems), 0
    for faces in in_parts(chosen, model.spec.input, skip_bad=skip_bad, progress=progress):
        known = faces.labelled()
        unlabelled += len(faces) - len(known)
        skipped += faces.skipped
        parts.append(_answer(model, known, learnt, tta, batch_size))
    everything = _joined(parts, split)
    answers = _without_copies(everything, split) if without_duplicates else everything
    answered = (answers.probabilities, answers.labels, answers.splits)
    judged = _named(chosen, answers.names)
    return Judgement(
        judge_splits(*answered, classes=answers.classes, tta=tta, split=split),
        dataset.format,
        unlabelled,
        tuple(skipped),
        count_without_face(judged),
        len(everything) - len(answers) if without_duplicates else None,
        measure_leakage(everything),
        kin,
        left_open and detect_faces is False and needs_detection(asked),
        answers,
        judged,
    )


def known_classes(dataset: Dataset, split: str, *models: Model) -> tuple[Dataset, dict[str, int]]:
    """A dataset without the pictures of classes that a model does not know, such as contempt in AffectNet and FER+.

    Args:
        dataset: what `mien.open_dataset` gave.
        split: that is to be judged.
        models: all of which must know a class.

    Returns:
        The other pictures, those without a label too; and class to how many pictures of the split were left out.

    Raises:
        UsageError: the data lacks the split, or nothing of it would be left.
    """
    known = [{canonical(name) for name in model.spec.classes} for model in models]
    strange = [label for label, name in enumerate(dataset.classes) if any(canonical(name) not in one for one in known)]
    chosen = dataset.select(split)
    if np.isin(chosen.labels, strange).all():
        has = ", ".join(dataset.classes)
        raise UsageError(f"split: no picture of {split!r} is of a class that the model knows; the data has {has}")
    rest = replace(dataset.take(~np.isin(dataset.labels, strange)), problems=dataset.problems) if strange else dataset
    counts = {dataset.classes[label]: int(np.count_nonzero(chosen.labels == label)) for label in strange}
    return rest, {name: n for name, n in counts.items() if n}


def _named(dataset: Dataset, names: NDArray[np.str_]) -> Dataset:
    """The faces of these names, in this order."""
    place = {key: row for row, key in enumerate(dataset.keys.tolist())}
    return dataset.take([place[key] for key in encode_names(names.tolist()).tolist()])


def _answer(model: Model, faces: Faces, learnt: Learnt | None, tta: str, batch_size: int | None) -> Answers:
    """Ask a model about labelled faces, and look for them among what it learned from."""
    labels = align_labels(faces.labels, faces.classes, model.spec.classes)
    probabilities, uncalibrated = ask(model, faces.images, tta=tta, batch_size=batch_size)
    return Answers(
        probabilities,
        uncalibrated,
        labels,
        faces.splits,
        faces.names,
        model.spec.classes,
        model.spec.temperature,
        None if learnt is None else learnt.holds(faces.images),
        None if learnt is None else learnt.holds_like(faces.images),
    )


def _joined(parts: list[Answers], split: str) -> Answers:
    if not any(len(part) for part in parts):
        raise UsageError(f"split: no face of {split!r} has a label to judge by")
    return Answers.joined(parts)


def _without_copies(answers: Answers, split: str) -> Answers:
    clean = answers.take(~np.asarray(answers.in_training, np.bool_))
    if not len(clean):
        raise UsageError(
            f"without_duplicates: all {many(len(answers), 'face')} of {split!r} also stand in Training; none is left"
        )
    return clean


def _comparable(dataset: Dataset, split: str) -> bool:
    return split not in ("train", "all") and "train" in dataset.splits


def _refuse_no_training(dataset: Dataset, split: str) -> None:
    if split in ("train", "all"):
        raise UsageError(f"without_duplicates: is for splits that Training is no part of, received split {split!r}")
    if "train" not in dataset.splits:
        raise UsageError("without_duplicates: needs the training split to compare with, and this data has none")


def _learnt(dataset: Dataset, judged: int, spec: InputSpec, progress: Progress | None) -> Learnt:
    """What stands in the training split; files that cannot be read were not learnt from either."""
    training = dataset.select("train")
    parts = in_parts(training, spec, skip_bad=True, progress=progress)
    return Learnt.of(parts, near=judged * len(training) <= MOST_PAIRS)


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
