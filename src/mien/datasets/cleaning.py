"""Which faces a cleaned dataset leaves out, and why: what ``mien data check --fix`` writes.

Faces to judge by (public, private, test, val) stay, so that scores can be compared with other people's. Of Training go

- copies of a face that stands in another split;
- copies of each other but one: the first with the label that most of them carry; all of them where no label has most;
- blank images.

Files that cannot be used go from every split. Near-duplicates count as copies where they were looked for. Images in
which no face was found, and labels that are likely wrong, are suggestions: a person decides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.datasets.audit import Audit, group_rows
from mien.errors import many

TO_LEAVE_OUT = "to leave out,"
"""How the first line of a list ends."""


@dataclass(frozen=True)
class Cleaning:
    """What to leave out.

    Attributes:
        reasons: name to why it goes.
        suggestions: name to what speaks against it; these stay until a person decides.
    """

    reasons: dict[str, str]
    suggestions: dict[str, str]

    def heading(self, found: Audit) -> str:
        """Lines that say what the list is."""
        dataset = found.dataset
        lines = [
            f"{len(self.reasons):,} of {many(len(dataset), 'face')} of {dataset.path.name} ({dataset.format}) "
            f"{TO_LEAVE_OUT}",
            "as mien data check found them; for --exclude. Faces to judge by stay, their copies in Training go.",
        ]
        if self.suggestions:
            lines.append(
                f"{many(len(self.suggestions), 'suggestion stands', 'suggestions stand')} at the end as comments: take "
                "the # away where you agree."
            )
        return "\n".join(lines)


def is_cleaning(path: Path) -> bool:
    """Whether a file is a list with the heading of `Cleaning`, which may be replaced."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline(10_000).rstrip()
    except (OSError, UnicodeDecodeError):
        return False
    return first.startswith("#") and first.endswith(TO_LEAVE_OUT)


def clean(found: Audit) -> Cleaning:
    """Decide what goes, by the rules above."""
    names = found.dataset.names
    reasons = _unusable(found, names)
    training = found.dataset.splits == "train"
    for row in found.blank.tolist():
        if training[row]:
            reasons[str(names[row])] = f"blank: {found.measures.emptiness[row]:.0%} of its pixels are alike"
    for rows in group_rows(found.copies, found.survey.usable):
        for row, reason in _surplus(found, rows, names).items():
            reasons.setdefault(str(names[row]), reason)
    suggestions = {name: why for name, why in _suggestions(found, names).items() if name not in reasons}
    return Cleaning(reasons, suggestions)


def _unusable(found: Audit, names: NDArray[np.str_]) -> dict[str, str]:
    """Files that cannot be read, and those in no class folder."""
    rows = np.setdiff1d(np.arange(len(names)), found.survey.usable)
    unreadable = dict.fromkeys(names[rows].tolist(), "cannot be used")
    others = {_name_of(problem): "cannot be used" for problem in found.dataset.problems}
    return unreadable | others


def _name_of(problem: str) -> str:
    """The name in ``"shot (1).png (in no class folder)"``: what stands before the last brackets, which say why."""
    depth = 0
    for place in range(len(problem) - 1, 0, -1):
        depth += (problem[place] == ")") - (problem[place] == "(")
        if depth == 0:
            return problem[:place].rstrip(" ")
    return problem


def _surplus(found: Audit, rows: NDArray[np.int64], names: NDArray[np.str_]) -> dict[int, str]:
    """Which of the copies of one picture go."""
    training = rows[found.dataset.splits[rows] == "train"]
    judged = rows[found.dataset.splits[rows] != "train"]
    if len(judged):
        return {row: _like(found, row, int(judged[0]), names) for row in training.tolist()}
    labels = found.dataset.labels[training].tolist()
    label = _majority(labels)
    if label is None:
        words = ", ".join(sorted({found.dataset.classes[label] for label in labels if label >= 0}))
        return dict.fromkeys(training.tolist(), f"copies of one picture are called {words}, none of them by most")
    kept = int(training[labels.index(label)])
    called = f", which most copies call {found.dataset.classes[label]}" if label >= 0 else ""
    return {
        row: _like(found, row, kept, names) + (called if found.dataset.labels[row] not in (label, -1) else "")
        for row in training.tolist()
        if row != kept
    }


def _like(found: Audit, row: int, other: int, names: NDArray[np.str_]) -> str:
    same = found.survey.groups[row] == found.survey.groups[other]
    return f"{'identical to' if same else 'nearly identical to'} {names[other]}"


def _majority(labels: list[int]) -> int | None:
    """The label that more copies carry than any other; -1 where none has one; None where two are equally frequent."""
    counts = Counter(label for label in labels if label >= 0).most_common(2)
    if not counts:
        return -1
    return None if len(counts) == 2 and counts[0][1] == counts[1][1] else counts[0][0]


def _suggestions(found: Audit, names: NDArray[np.str_]) -> dict[str, str]:
    training = found.dataset.splits == "train"
    doubts = {str(names[row]): "no face found" for row in found.without_face.tolist() if training[row]}
    if found.labels is None:
        return doubts
    for row, label in zip(found.labels.rows.tolist(), found.labels.suggested.tolist(), strict=True):
        if training[row]:
            doubts[str(names[row])] = f"looks {found.dataset.classes[label]}"
    return doubts
