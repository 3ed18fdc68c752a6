"""`audit`: what a dataset is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import Dataset
from mien.datasets.duplicates import Duplicates, count_duplicates
from mien.datasets.facing import find_boxes
from mien.datasets.label_issues import LabelIssues, check_cleanlab, find_label_issues
from mien.datasets.measures import Measures, measure
from mien.datasets.near_duplicates import LIKENESS, NearPairs, check_scipy, near_groups, near_pairs
from mien.datasets.origins import join_groups
from mien.datasets.pixels import Progress
from mien.datasets.splits import count_classes
from mien.datasets.streaming import Survey, survey
from mien.errors import MissingExtraError

EMPTY = 0.7
"""An image is blank, or nearly so, where this share of its pixels has one brightness.

In FER2013 these are 41: black ones, warning signs, and texts that say that a picture is not available. The first
photograph of a face, in darkness, has 0.65.
"""

MOST_COMPARED = 200_000
"""With more images, near-duplicates are looked for only when they are asked for: it takes time by the square."""

Watch = Callable[[str], AbstractContextManager[Progress | None]]
"""Begins a stage of the work, by name, and gives what is called as it goes on."""


@dataclass(frozen=True, eq=False)
class Near:
    """Near-duplicates.

    Attributes:
        pairs: like images that are not identical; rows of the dataset.
        groups: int64 (n,), the same number for identical and nearly identical images.
    """

    pairs: NearPairs
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found in a dataset. All rows are the dataset's.

    Attributes:
        dataset: the whole, files that cannot be used among it.
        survey: files that cannot be read, sizes, and identical images.
        measures: brightness, contrast and emptiness.
        near: near-duplicates, None where they were not looked for.
        has_face: bool (n,), whether a face was found; None where none was looked for.
        labels: likely wrong labels, None where they were not looked for.
    """

    dataset: Dataset
    survey: Survey
    measures: Measures
    near: Near | None = None
    has_face: NDArray[np.bool_] | None = None
    labels: LabelIssues | None = None

    @property
    def bad(self) -> tuple[str, ...]:
        """Files and rows that cannot be used, each with its reason."""
        return (*self.dataset.problems, *self.survey.bad)

    @property
    def blank(self) -> NDArray[np.int64]:
        """Rows of blank and nearly blank images, the emptiest first."""
        rows = np.flatnonzero(self.measures.emptiness >= EMPTY)
        return rows[np.argsort(-self.measures.emptiness[rows], kind="stable")]

    @property
    def without_face(self) -> NDArray[np.int64]:
        """Rows of images that can be read and have no face that was found."""
        if self.has_face is None:
            return np.empty(0, np.int64)
        return self.survey.usable[~self.has_face[self.survey.usable]]

    @property
    def copies(self) -> NDArray[np.int64]:
        """int64 (n,), the same number for copies of one picture, nearly identical ones too where they were sought."""
        return self.survey.groups if self.near is None else self.near.groups

    def identical(self) -> Duplicates:
        """How often images are repeated, pixel for pixel."""
        return self._count(self.survey.groups)

    def alike(self) -> Duplicates | None:
        """How often images are repeated, identical or nearly so; None where it was not looked for."""
        return None if self.near is None else self._count(self.near.groups)

    def _count(self, groups: NDArray[np.int64]) -> Duplicates:
        usable = self.survey.usable
        return count_duplicates(groups[usable], self.dataset.labels[usable], self.dataset.splits[usable])

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON. Faces that cannot be used are in ``bad`` alone, and counted nowhere else."""
        names = self.dataset.names
        labels, splits = self.dataset.labels[self.survey.usable], self.dataset.splits[self.survey.usable]
        return {
            "path": str(self.dataset.path),
            "format": self.dataset.format,
            "classes": list(self.dataset.classes),
            "n": len(labels),
            "counts": count_classes(splits, labels, self.dataset.classes),
            "unlabelled": int((labels < 0).sum()),
            "sizes": self.survey.sizes(),
            "bad": len(self.bad),
            "bad_files": list(self.bad),
            "blank": {"n": len(self.blank), "emptiness": EMPTY, "names": names[self.blank].tolist()},
            "brightness": _spread(self.measures.brightness),
            "contrast": _spread(self.measures.contrast),
            "duplicates": _counted(self.identical()),
            "origins": self._origins_dict(),
            "identical_faces": _sets(self.survey.groups, self.survey.usable, names),
            "near_duplicates": self._near_dict(names),
            "no_face": None if self.has_face is None else self._face_dict(names),
            "label_issues": None if self.labels is None else self._label_dict(self.labels, names),
        }

    def _origins_dict(self) -> dict[str, Any] | None:
        """Persons or pictures that several faces are of, where it is known; with how many stand in two splits."""
        if not self.dataset.origins:
            return None
        usable = self.survey.usable
        origins = self.dataset.origins.take(usable)
        across = origins.across(self.dataset.splits[usable])
        return {"kind": origins.kind, "n": origins.count(), "across_splits": across}

    def _near_dict(self, names: NDArray[np.str_]) -> dict[str, Any] | None:
        counted = self.alike()
        if self.near is None or counted is None:
            return None
        pairs = self.near.pairs
        return {
            "likeness": LIKENESS,
            "pairs": len(pairs),
            "mirrored": int(pairs.mirrored.sum()),
            **_counted(counted),
            "pair_names": [
                [*names[rows].tolist(), round(like, 4)]
                for rows, like in zip(pairs.rows, pairs.likeness.tolist(), strict=True)
            ],
        }

    def _face_dict(self, names: NDArray[np.str_]) -> dict[str, Any]:
        rows = self.without_face
        return {
            "n": len(rows),
            "share": len(rows) / max(1, len(self.survey.usable)),
            "names": names[rows].tolist(),
        }

    def _label_dict(self, found: LabelIssues, names: NDArray[np.str_]) -> dict[str, Any]:
        classes, labels = self.dataset.classes, self.dataset.labels
        columns = (found.rows.tolist(), found.suggested.tolist(), found.confidence.tolist(), found.given.tolist())
        return {
            "n": len(found.rows),
            "judged": found.judged,
            "accuracy": found.accuracy,
            "left_out": list(found.left_out),
            "faces": [
                {
                    "name": str(names[row]),
                    "label": classes[int(labels[row])],
                    "suggested": classes[suggested],
                    "confidence": round(confidence, 4),
                    "given": round(given, 4),
                }
                for row, suggested, confidence, given in zip(*columns, strict=True)
            ],
        }


def audit(
    dataset: Dataset,
    *,
    near: bool | None = None,
    faces: bool = False,
    labels: bool = False,
    cache: bool = True,
    watch: Watch | None = None,
) -> Audit:
    """Look through a dataset.

    Args:
        dataset: what `mien.datasets.open_dataset` gave.
        near: look for near-duplicates; None: where SciPy is installed and there are at most `MOST_COMPARED` images.
        faces: look for a face in every image, with MTCNN.
        labels: look for labels that are likely wrong; see `mien.datasets.label_issues`.
        cache: read what is known of the dataset from the cache, and keep there what is found.
        watch: called as each stage begins.

    Raises:
        MissingExtraError: a library that this needs is not installed; before any work is done.
        DataError: labels are to be judged and there are too few faces.
    """
    compare = _may_compare(dataset) if near is None else near
    if compare:
        check_scipy()
    if labels:
        check_cleanlab()
    watch = watch or _unwatched
    with watch("reading faces") as progress:
        surveyed = survey(dataset, cache=cache, progress=progress)
    with watch("measuring faces") as progress:
        measures = measure(dataset, cache=cache, progress=progress)
    found = Audit(dataset, surveyed, measures)
    if compare:
        with watch("comparing faces") as progress:
            found = replace(found, near=_near(surveyed, measures, progress))
    if faces:
        with watch("looking for faces") as progress:
            found = replace(found, has_face=find_boxes(dataset, cache=cache, progress=progress).found)
    if labels:
        with watch("judging labels") as progress:
            found = replace(found, labels=_label_issues(found, progress))
    return found


def _unwatched(what: str) -> AbstractContextManager[Progress | None]:
    del what
    return nullcontext()


def _may_compare(dataset: Dataset) -> bool:
    try:
        check_scipy()
    except MissingExtraError:
        return False
    return len(dataset) <= MOST_COMPARED


def _near(found: Survey, measures: Measures, progress: Progress | None) -> Near:
    pairs = near_pairs(measures.thumbs, progress=progress)
    groups = near_groups(found.groups, pairs)
    one, other = found.groups[pairs.rows].T
    return Near(pairs.take(one != other), groups)


def _label_issues(found: Audit, progress: Progress | None) -> LabelIssues:
    """Of readable faces that are not blank; rows brought back to the dataset's."""
    rows = np.setdiff1d(found.survey.usable, found.blank)
    faces, groups = found.dataset.take(rows), found.copies[rows]
    groups = join_groups(groups, faces.origins.numbers) if faces.origins else groups
    issues = find_label_issues(faces, groups, progress=progress)
    return replace(issues, rows=rows[issues.rows])


def _counted(found: Duplicates) -> dict[str, Any]:
    return {
        "groups": found.groups,
        "surplus": found.surplus,
        "across_splits": found.across,
        "conflicting_labels": found.conflicting,
    }


def _spread(values: NDArray[np.float32]) -> dict[str, float]:
    """Least, greatest and what lies between, of 0 to 255; nothing where no image can be read."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {}
    shares = {"least": 0, "p1": 1, "p5": 5, "median": 50, "p95": 95, "p99": 99, "greatest": 100}
    return {name: round(float(np.percentile(known, share)), 1) for name, share in shares.items()}


def _sets(groups: NDArray[np.int64], usable: NDArray[np.int64], names: NDArray[np.str_]) -> list[list[str]]:
    """The names in each group of two or more."""
    return [names[rows].tolist() for rows in group_rows(groups, usable)]


def group_rows(groups: NDArray[np.int64], usable: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each group of two or more, rising, in the order of their first.

    Args:
        groups: int64 (n,).
        usable: int64 (m,), the rows that count.
    """
    order = usable[np.argsort(groups[usable], kind="stable")]
    breaks = np.flatnonzero(np.diff(groups[order])) + 1
    found = [rows for rows in np.split(order, breaks) if len(rows) > 1]
    return sorted(found, key=lambda rows: int(rows[0]))
