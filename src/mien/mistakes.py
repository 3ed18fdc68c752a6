"""The worst mistakes of a model: the pictures that it was surest of and wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.answers import Answers
from mien.drawing import Block, contact_sheet
from mien.errors import UsageError
from mien.heatmaps import captioned, class_colour
from mien.images import Image
from mien.judging import Judgement
from mien.preprocessing import InputSpec

MOST = 24
"""Mistakes that are shown by default."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A picture whose most probable class is not its label.

    Attributes:
        name: file or row.
        image: uint8 (size, size, channels), as the model took it.
        truth: its label.
        predicted: what the model says.
        confidence: the probability of `predicted`, 0 to 1.
        truth_probability: the probability of `truth`, 0 to 1, no more than `confidence`.

    Raises:
        UsageError: it is no mistake, or the image is not one.
    """

    name: str
    image: NDArray[np.uint8]
    truth: str
    predicted: str
    confidence: float
    truth_probability: float

    def __post_init__(self) -> None:
        if self.truth == self.predicted:
            raise UsageError(f"predicted: must be another class than truth, received {self.predicted!r} twice")
        if not 0 <= self.truth_probability <= self.confidence <= 1:
            raise UsageError(
                "confidence: must be from truth_probability, 0 or more, to 1, received "
                f"{self.confidence} and {self.truth_probability}"
            )
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] not in (1, 3):
            raise UsageError(f"image: must be uint8 (size, size, 1 or 3), received {self.image.shape}")


def worst_rows(answers: Answers, most: int = MOST) -> NDArray[np.int64]:
    """Rows of the surest wrong answers, the surest first; of equal ones the first.

    Args:
        answers: what the model said.
        most: how many at most, 1 or more.

    Returns:
        int64 (up to `most`,), empty where every answer is right.

    Raises:
        UsageError: `most` is below 1.
    """
    if most < 1:
        raise UsageError(f"most: must be 1 or more, received {most}")
    wrong = np.flatnonzero(~answers.right)
    return wrong[np.argsort(-answers.confidences[wrong], kind="stable")][:most]


def worst_mistakes(judgement: Judgement, spec: InputSpec, *, most: int = MOST) -> tuple[Mistake, ...]:
    """The surest wrong answers with their pictures; only these are read.

    Args:
        judgement: what `mien.judging.judge_dataset` gave.
        spec: size and colour to read the pictures in: the model's.
        most: how many at most.

    Returns:
        The surest first.

    Raises:
        UsageError: `most` is below 1.
        DataError: a picture cannot be read any more.
    """
    answers = judgement.answers
    rows = worst_rows(answers, most)
    if not len(rows):
        return ()
    return tuple(
        Mistake(
            name=str(answers.names[row]),
            image=image,
            truth=answers.classes[answers.labels[row]],
            predicted=answers.classes[answers.predicted[row]],
            confidence=float(answers.confidences[row]),
            truth_probability=float(answers.probabilities[row, answers.labels[row]]),
        )
        for row, image in zip(rows.tolist(), judgement.load(rows, spec).images, strict=True)
    )


def mistakes_sheet(mistakes: Sequence[Mistake], *, columns: int = 6, tile: int = 144) -> Image:
    """Draw mistakes as a contact sheet, each with what the model says and how sure it is.

    Args:
        mistakes: what `worst_mistakes` gave; none gives a sheet that says so.
        columns: pictures in a row, 1 or more.
        tile: side of a picture on the sheet in pixels, 32 or more.

    Returns:
        uint8 (height, width, 3) RGB; `mien.datasets.conversion.write_png` makes a PNG of it.
    """
    classes = tuple(dict.fromkeys(name for one in mistakes for name in (one.truth, one.predicted)))
    tiles = [
        captioned(one.image, (one.predicted, f"{one.confidence:.0%}"), class_colour(classes, one.predicted), tile)
        for one in mistakes
    ]
    blocks = [
        Block(truth, "people said so; on each picture what the model says", np.stack(chosen))
        for truth in dict.fromkeys(one.truth for one in mistakes)
        if (chosen := [tile for one, tile in zip(mistakes, tiles, strict=True) if one.truth == truth])
    ]
    none = [Block("No mistakes", "every answer is the label", np.empty((0, tile, tile, 3), np.uint8))]
    return contact_sheet(blocks or none, columns=columns, tile=tile)
