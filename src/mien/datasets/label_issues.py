"""Labels that are likely wrong: images whose label a classifier that never saw them finds improbable, by cleanlab.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021). It needs
the probabilities of a model that has learned from neither the image nor a copy of it. Here that is a kernel classifier
on histograms of oriented gradients (Dalal and Triggs, CVPR 2005), learned five times on four fifths of the images each:
features that no label has shaped, and a minute for FER2013. A network would judge better, and take hours. Of what
cleanlab finds, only that of which the classifier is sure is given: docs/data.md says how often it is right then.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import Dataset
from mien.datasets.pixels import Progress
from mien.datasets.streaming import in_parts
from mien.errors import DataError, MissingExtraError
from mien.preprocessing import InputSpec

FOLDS = 5
"""Parts the images are dealt into; each is judged by what the others teach."""

LOOK = InputSpec(48)
"""Size in which images are described."""

SURE = 0.9
"""What another label's probability must be for an image to be given as likely wrong."""

KERNEL = {"gamma": 0.1, "n_components": 1000}
"""Of the Gaussian kernel, approximated by so many images (Nystroem). Chosen by accuracy on one fifth of FER2013."""

WEIGHT = 10.0
"""Inverse strength of the logistic regression's regularisation. With 100, as accurate, answers had not settled yet."""


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Likely wrong labels, the most likely first.

    Attributes:
        rows: int64 (m,) of the dataset.
        suggested: int64 (m,), the label that the classifier finds most probable.
        confidence: float32 (m,), its probability for that label.
        given: float32 (m,), its probability for the label that the image has.
        judged: how many images were judged.
        accuracy: how often the classifier, on images it had not seen, agreed with the label: how far to trust it.
        left_out: classes with too few different images to be judged.
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]
    confidence: NDArray[np.float32]
    given: NDArray[np.float32]
    judged: int
    accuracy: float
    left_out: tuple[str, ...] = ()


def find_label_issues(
    dataset: Dataset, groups: NDArray[np.int64], *, seed: int = 0, progress: Progress | None = None
) -> LabelIssues:
    """Look for labels that are likely wrong.

    Args:
        dataset: faces that can be read. Those without a label are passed over.
        groups: int64 (n,), the same number for copies of one picture or faces of one person, which are never on both
            sides.
        seed: which images are dealt together.
        progress: called with how many are read, and then how many parts are judged, and of how many.

    Raises:
        DataError: fewer than two classes have enough different images.
        MissingExtraError: cleanlab, scikit-learn or scikit-image is not installed.
    """
    check_cleanlab()
    rows, left_out = _judgeable(dataset, groups)
    chosen = dataset.take(rows)
    known, labels = np.unique(chosen.labels, return_inverse=True)
    features = np.concatenate([describe(part.images) for part in in_parts(chosen, LOOK, progress=progress)])
    probabilities = out_of_fold(features, labels, groups[rows], seed=seed, progress=progress)
    answers = probabilities.argmax(axis=1)
    suspects = _suspects(labels, probabilities)
    suspects = suspects[probabilities[suspects, answers[suspects]] >= SURE]
    return LabelIssues(
        rows=rows[suspects],
        suggested=known[answers[suspects]],
        confidence=probabilities[suspects, answers[suspects]],
        given=probabilities[suspects, labels[suspects]],
        judged=len(rows),
        accuracy=float((answers == labels).mean()),
        left_out=left_out,
    )


def check_cleanlab() -> None:
    """Find out before any work is done whether labels can be judged.

    Raises:
        MissingExtraError: cleanlab, scikit-learn or scikit-image is not installed.
    """
    try:
        with _quiet():
            import cleanlab.filter  # noqa: F401
            import skimage.feature  # noqa: F401
            import sklearn.linear_model  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("judging labels", "audit") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the libraries remark to their own developers, and that the fit could still be improved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _judgeable(dataset: Dataset, groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Rows of the classes that have `FOLDS` different images, and the names of the other classes.

    Raises:
        DataError: fewer than two classes have.
    """
    different = [len(np.unique(groups[dataset.labels == label])) for label in range(len(dataset.classes))]
    enough = [label for label, count in enumerate(different) if count >= FOLDS]
    if len(enough) < 2:
        raise DataError(
            f"labels: judging them needs two classes with at least {FOLDS} different images each",
            [f"{name}: {count}" for name, count in zip(dataset.classes, different, strict=True)],
        )
    few = tuple(name for label, name in enumerate(dataset.classes) if 0 < different[label] < FOLDS)
    return np.flatnonzero(np.isin(dataset.labels, enough)), few


def describe(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of oriented gradients of images uint8 (n, 48, 48, 1): float32 (n, 900)."""
    from skimage.feature import hog

    rows = [hog(image[..., 0], orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2)) for image in images]
    return np.asarray(rows, np.float32)


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Probabilities for each image from a classifier that has learned from no image of its group.

    Args:
        features: float32 (n, d).
        labels: int64 (n,), 0 to k - 1, each in at least `FOLDS` groups.
        groups: int64 (n,).
        seed: how images are dealt into parts.
        progress: called with how many parts are judged and how many there are.

    Returns:
        float32 (n, k).
    """
    from sklearn.model_selection import StratifiedGroupKFold

    probabilities = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    parts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels, groups)
    for number, (learned, judged) in enumerate(parts, start=1):
        with _quiet():
            model = _classifier(len(learned), seed).fit(features[learned], labels[learned])
        probabilities[np.ix_(judged, model.classes_)] = model.predict_proba(features[judged])
        if progress:
            progress(number, FOLDS)
    return probabilities


def _classifier(count: int, seed: int) -> Any:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    kernel = Nystroem(gamma=KERNEL["gamma"], n_components=min(int(KERNEL["n_components"]), count), random_state=seed)
    return make_pipeline(kernel, LogisticRegression(C=WEIGHT, max_iter=250))


def _suspects(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions of likely wrong labels, the least probable labels first."""
    from cleanlab.filter import find_label_issues as find

    with _quiet():
        found = find(labels, probabilities, filter_by="both", return_indices_ranked_by="normalized_margin", n_jobs=1)
    return np.asarray(found, np.int64)
