"""How good a model is: metrics that do not know which runtime predicted. docs/evaluation.md says what each means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import MissingExtraError, UsageError, many
from mien.labels import canonical, refuse_text
from mien.views import TTA as TTA
from mien.views import PredictFn, predict_views

CONFIDENCE = 0.95

TEST_SPLITS: tuple[str, ...] = ("public", "private")
"""What ``test`` is made of; its metrics are given for each apart as well."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of one class, each from 0 to 1; 0 where nothing was predicted as it, or nothing is of it.

    Attributes:
        precision: of the pictures predicted as this class, the fraction that are.
        recall: of the pictures of this class, the fraction predicted as it.
        f1: harmonic mean of the two.
        support: how many pictures are of this class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What a model scored on one split.

    Attributes:
        split: which pictures.
        tta: the test-time augmentation, a key of `TTA`.
        n: how many pictures, 1 or more.
        accuracy: fraction whose most probable class is the true one.
        accuracy_interval: its 95 % Wilson score interval.
        balanced_accuracy: mean recall of the classes that occur.
        macro_f1: mean F1 of the classes that occur or were predicted.
        top2_accuracy: fraction whose true class is among the two most probable.
        log_loss: mean of -ln(probability of the true class), in nats, 0 or more.
        per_class: class name to its scores, in class order.
        confusion: confusion[i][j] pictures of class i were predicted as class j.

    Raises:
        UsageError: the numbers do not belong together.
    """

    split: str
    tta: str
    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    top2_accuracy: float
    log_loss: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        low, high = self.accuracy_interval
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "top2_accuracy"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}: must be from 0 to 1, received {getattr(self, name)}")
        if not 0 <= low <= self.accuracy <= high <= 1:
            raise UsageError(f"accuracy_interval: must hold accuracy {self.accuracy}, received {low} to {high}")
        if not 0 <= self.log_loss < math.inf:
            raise UsageError(f"log_loss: must be 0 or more, received {self.log_loss}")
        rows = [len(self.confusion), *map(len, self.confusion)]
        if set(rows) != {len(self.per_class)} or self.n < 1 or sum(map(sum, self.confusion)) != self.n:
            raise UsageError(f"confusion: must be square, one row for each class, and sum to n = {self.n}, 1 or more")

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        return (
            f"<Evaluation of {self.split}, tta {self.tta}: accuracy {self.accuracy:.1%} (95% interval {low:.1%} to "
            f"{high:.1%}), macro F1 {self.macro_f1:.3f}, log loss {self.log_loss:.3f}, n = {self.n:,}>"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the rows and columns of `confusion`."""
        return tuple(self.per_class)

    @property
    def only_class(self) -> str | None:
        """The class that all pictures are of; None where they are of several."""
        found = [name for name, scores in self.per_class.items() if scores.support]
        return found[0] if len(found) == 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names and ``classes`` beside ``confusion``."""
        return {
            **asdict(self),
            "accuracy_interval": list(self.accuracy_interval),
            "classes": list(self.classes),
            "confusion": [list(row) for row in self.confusion],
        }


def evaluate(
    predict_fn: PredictFn,
    images: NDArray[np.uint8],
    labels: ArrayLike,
    *,
    classes: Sequence[str],
    tta: str = "none",
    split: str = "test",
) -> Evaluation:
    """Judge a model on labelled pictures.

    Args:
        predict_fn: uint8 (n, size, size, channels) to probabilities (n, classes); `Classifier.predict` is one.
        images: uint8 (n, size, size, channels), at least one.
        labels: integers (n,), indices into `classes`. `align_labels` brings a dataset's own order to this one.
        classes: names of the model's outputs, in output order.
        tta: a key of `TTA`.
        split: what the result calls these pictures.

    Raises:
        UsageError: there are no pictures, lengths differ, a label is not an index into `classes`, `tta` is unknown, or
            `predict_fn` does not give probabilities of that shape.
        MissingExtraError: scikit-learn is not installed.
    """
    refuse_text(classes)
    known = _check_labels(images, labels, len(classes), split)
    return judge(predict_views(predict_fn, images, tta), known, classes=classes, tta=tta, split=split)


def evaluate_splits(
    predict_fn: PredictFn,
    images: NDArray[np.uint8],
    labels: ArrayLike,
    splits: Sequence[str] | NDArray[Any],
    *,
    classes: Sequence[str],
    tta: str = "none",
    split: str = "test",
) -> dict[str, Evaluation]:
    """`evaluate`, and where `split` is ``test`` its parts apart as well; each picture is predicted once.

    `splits` names the split that each picture is from, (n,); all else is as in `evaluate`.

    Returns:
        `split` to the result on all pictures, first; then, for ``test``, ``public`` and ``private``, each where there
        are pictures of it.
    """
    refuse_text(classes)
    if len(splits) != len(images):
        raise UsageError(f"splits: must have one name for each of {many(len(images), 'image')}, received {len(splits)}")
    known = _check_labels(images, labels, len(classes), split)
    return judge_splits(predict_views(predict_fn, images, tta), known, splits, classes=classes, tta=tta, split=split)


def judge_splits(
    probabilities: NDArray[np.floating[Any]],
    labels: ArrayLike,
    splits: Sequence[str] | NDArray[Any],
    *,
    classes: Sequence[str],
    tta: str = "none",
    split: str = "test",
) -> dict[str, Evaluation]:
    """`evaluate_splits` for probabilities that are already there; see there and `judge`."""
    rows, truth, names = np.asarray(probabilities), np.asarray(labels), np.asarray(splits)
    parts = {split: np.ones(len(names), np.bool_)}
    if split == "test":
        parts |= {part: names == part for part in TEST_SPLITS if np.any(names == part)}
    return {
        part: judge(rows[chosen], truth[chosen], classes=classes, tta=tta, split=part) for part, chosen in parts.items()
    }


def judge(
    probabilities: NDArray[np.floating[Any]],
    labels: ArrayLike,
    *,
    classes: Sequence[str],
    tta: str = "none",
    split: str = "test",
) -> Evaluation:
    """`evaluate` for probabilities (n, classes) that are already there; `tta`, how they were made, is only noted."""
    refuse_text(classes)
    truth = _check_labels(probabilities, labels, len(classes), split)
    rows = _normalised(probabilities, len(classes))
    # The most probable class first; of equal ones the first, as numpy.argmax has it.
    ranking = np.argsort(-rows, axis=1, kind="stable")
    hits = ranking == truth[:, None]
    correct = int(np.count_nonzero(hits[:, 0]))
    return Evaluation(
        split=split,
        tta=tta,
        n=len(rows),
        accuracy=correct / len(rows),
        accuracy_interval=wilson_interval(correct, len(rows)),
        top2_accuracy=float(hits[:, :2].any(axis=1).mean()),
        **_scikit_metrics(rows, ranking[:, 0], truth, classes),
    )


def align_labels(
    labels: NDArray[np.int64], data_classes: Sequence[str], model_classes: Sequence[str], *, name: str = "the model"
) -> NDArray[np.int64]:
    """Bring labels in a dataset's class order to a model's, by name; spellings of the seven expressions are known.

    Args:
        labels: integers (n,), indices into `data_classes`; those outside it, such as -1 for none, become -1.
        data_classes: names in the dataset's order.
        model_classes: names in the order of the model's outputs.
        name: what the error calls the model.

    Returns:
        int64 (n,), indices into `model_classes`.

    Raises:
        UsageError: there are pictures of a class that the model does not know.
    """
    refuse_text(data_classes, "data_classes")
    refuse_text(model_classes, "model_classes")
    index = {canonical(name): position for position, name in enumerate(model_classes)}
    table = np.array([index.get(canonical(name), -1) for name in data_classes] + [-1], np.int64)
    known = (labels >= 0) & (labels < len(data_classes))
    missing = [data_classes[label] for label in np.unique(labels[known]) if table[label] < 0]
    if missing:
        unknown = f"the data has pictures of {', '.join(missing)}, which {name} does not know"
        raise UsageError(
            f"classes: {unknown}; its classes are {', '.join(model_classes)}; take those pictures out of the data. "
            "'mien evaluate --known-classes' judges without them, 'mien calibrate --known-classes' fits without them"
        )
    return table[np.where(known, labels, -1)]


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval that holds the true fraction with the given confidence (Wilson 1927), low and high in [0, 1].

    Args:
        successes: how many of the n, 0 to n.
        n: how many trials, 1 or more.
        confidence: between 0 and 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise UsageError(f"successes: must be from 0 to n and n 1 or more, received {successes} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    fraction, spread = successes / n, z * z / n
    centre = (fraction + spread / 2) / (1 + spread)
    half = z * math.sqrt(fraction * (1 - fraction) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, min(fraction, centre - half)), min(1.0, max(fraction, centre + half))


def _check_labels(rows: NDArray[Any], labels: ArrayLike, classes: int, split: str) -> NDArray[np.int64]:
    """The labels as an array, where there is an index of a class for each row."""
    if len(rows) == 0:
        raise UsageError(f"split: {split!r} holds no pictures; choose one that does")
    found = np.asarray(labels)
    if found.shape != (len(rows),) or not np.issubdtype(found.dtype, np.integer):
        hint = "; argmax(axis=1) makes them of one-hot rows" if found.shape == (len(rows), classes) else ""
        raise UsageError(
            f"labels: must be integers ({len(rows)},), indices of the classes, received {found.dtype} {found.shape}"
            f"{hint}"
        )
    wrong = found[(found < 0) | (found >= classes)]
    if wrong.size:
        raise UsageError(
            f"labels: must be from 0 to {classes - 1}; {wrong.size:,} of {len(found):,} are not, such as {wrong[0]} "
            "(-1 stands for a picture without a label)"
        )
    return found


def _normalised(probabilities: NDArray[np.floating[Any]], classes: int) -> NDArray[np.float64]:
    """As float64 whose rows sum to 1 to the last digit, which scikit-learn asks for."""
    rows = np.asarray(probabilities, np.float64)
    if rows.ndim != 2 or rows.shape[1] != classes:
        raise UsageError(f"probabilities: must have shape (n, {classes}), one column a class, received {rows.shape}")
    sums = rows.sum(axis=1, keepdims=True)
    if not np.all(rows >= 0) or not np.all(np.abs(sums - 1) < 1e-3):
        raise UsageError("probabilities: must be 0 or more and sum to 1 in each row; is the last layer a softmax?")
    return np.asarray(rows / sums)


def _scikit_metrics(
    rows: NDArray[np.float64], predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("judging a model", "evaluate") from error
    indices = range(len(classes))
    table = metrics.precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    scores = [ClassScores(float(p), float(r), float(f), int(s)) for p, r, f, s in zip(*table, strict=True)]
    occurring = [score.recall for score in scores if score.support]
    confusion = metrics.confusion_matrix(labels, predicted, labels=indices)
    return {
        "balanced_accuracy": math.fsum(occurring) / len(occurring),
        "macro_f1": float(metrics.f1_score(labels, predicted, average="macro", zero_division=0)),
        "log_loss": float(metrics.log_loss(labels, rows, labels=indices)),
        "per_class": dict(zip(classes, scores, strict=True)),
        "confusion": tuple(tuple(map(int, row)) for row in confusion),
    }
