"""`Answers`: what a model said of labelled pictures, beside the truth; what every measure is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.classifier import Model, apply_temperature
from mien.errors import UsageError, many
from mien.views import predict_views


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of n labelled pictures.

    Attributes:
        probabilities: float32 (n, classes), as users get them: at the temperature of the model's file, the mean over
            the views of each picture.
        uncalibrated: float32 (n, classes), the same at temperature 1.
        labels: int64 (n,), the true columns.
        splits: str (n,), the split that each picture is from.
        names: str (n,), file or row of each, as `mien.Dataset.names` gives them.
        classes: names of the columns.
        temperature: of the model's file.
        in_training: bool (n,), whether a picture also stands in Training, pixel for pixel; None where that was not
            looked for.
        like_training: bool (n,), whether it stands there identically or nearly so; None likewise.

    Raises:
        UsageError: lengths differ.
    """

    probabilities: NDArray[np.float32]
    uncalibrated: NDArray[np.float32]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: NDArray[np.str_]
    classes: tuple[str, ...]
    temperature: float = 1.0
    in_training: NDArray[np.bool_] | None = None
    like_training: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.classes))
        marks = [marks for marks in (self.in_training, self.like_training) if marks is not None]
        lengths = {len(column) for column in (self.splits, self.names, *marks)}
        if self.probabilities.shape != shape or self.uncalibrated.shape != shape or lengths != {shape[0]}:
            raise UsageError(
                f"answers: must all be of {many(shape[0], 'picture')} and {many(shape[1], 'class', 'classes')}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable column of each, int64 (n,); the first of equal ones."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def confidences(self) -> NDArray[np.float32]:
        """The probability of that column, float32 (n,)."""
        return np.asarray(self.probabilities.max(axis=1, initial=0.0), np.float32)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether that column is the true one, bool (n,)."""
        return np.asarray(self.predicted == self.labels)

    def take(self, indices: ArrayLike) -> Answers:
        """These rows, in this order: integers, or booleans (n,)."""
        rows = np.asarray(indices)
        rows = rows if rows.size else np.empty(0, np.int64)
        return Answers(
            self.probabilities[rows],
            self.uncalibrated[rows],
            self.labels[rows],
            self.splits[rows],
            self.names[rows],
            self.classes,
            self.temperature,
            None if self.in_training is None else self.in_training[rows],
            None if self.like_training is None else self.like_training[rows],
        )

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Answers of one model that came in parts, at least one."""
        first = parts[0]
        return cls(
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.uncalibrated for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.splits for part in parts]),
            np.concatenate([part.names for part in parts]),
            first.classes,
            first.temperature,
            _all_marks([part.in_training for part in parts]),
            _all_marks([part.like_training for part in parts]),
        )


def _all_marks(parts: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """Marks of all parts; None where one has none."""
    marks = [part for part in parts if part is not None]
    return np.concatenate(marks) if len(marks) == len(parts) else None


def ask(
    model: Model, images: NDArray[np.uint8], *, tta: str = "none", batch_size: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ask a model once for its probabilities at the temperature of its file and at 1.

    The mean over views is taken after the temperature, both times: see `mien.views.predict_views`.

    Args:
        model: what `mien.open_model` gave.
        images: uint8 (n, size, size, channels).
        tta: a key of `mien.views.TTA`.
        batch_size: pictures that go through the network at once; None: by their size.

    Returns:
        float32 (n, classes), twice.
    """
    temperature, classes = model.spec.temperature, len(model.spec.classes)

    def both(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = model.predict(pictures, batch_size)
        # The power of a power: softmax(T log p) takes the temperature T back.
        return np.concatenate([rows, apply_temperature(rows, 1 / temperature)], axis=1)

    rows = predict_views(both, images, tta)
    return rows[:, :classes], rows[:, classes:]
