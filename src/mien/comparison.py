"""Whether one model is better than another: both judged on the same pictures, and how much of it may be chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.answers import Answers
from mien.errors import MissingExtraError, UsageError, many

CONFIDENCE = 0.95
RESAMPLES = 9_999
BATCH_VALUES = 4_000_000
"""So many resampled values are held at once: 32 MB."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same pictures.

    Attributes:
        first: name of the model that is judged.
        second: name of the model that it is compared with.
        n: how many pictures both answered, 1 or more.
        first_accuracy: 0 to 1.
        second_accuracy: 0 to 1.
        difference: first minus second, -1 to 1: above 0, the first is better.
        interval: 95 % interval of `difference`, by bootstrap over pictures (percentiles, both models' answers to a
            picture drawn together).
        both_right: pictures that both name right.
        only_first: pictures that only the first names right.
        only_second: pictures that only the second names right.
        both_wrong: pictures that neither names right.
        p_value: of the exact McNemar test: how likely a split of the pictures that only one names right at least as
            uneven as this is where the models are equally good; 1 where there is no such picture.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UsageError: the counts do not add up.
    """

    first: str
    second: str
    n: int
    first_accuracy: float
    second_accuracy: float
    difference: float
    interval: tuple[float, float]
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1 or self.both_right + self.only_first + self.only_second + self.both_wrong != self.n:
            raise UsageError(f"n: must be the sum of the four counts and 1 or more, received {self.n}")
        low, high = self.interval
        if not -1 <= low <= high <= 1 or not 0 <= self.p_value <= 1:
            raise UsageError(f"interval: must lie in -1 to 1, received {self.interval}, p_value {self.p_value}")

    @property
    def significant(self) -> bool:
        """Whether chance alone would give a p value as small in fewer than one of twenty samples."""
        return self.p_value < 1 - CONFIDENCE

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names."""
        return {**asdict(self), "interval": list(self.interval)}


def compare(
    first_right: NDArray[np.bool_],
    second_right: NDArray[np.bool_],
    *,
    first: str = "first",
    second: str = "second",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare which of the same pictures two models name right.

    The test is McNemar's ("Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 1947) in its exact form: a binomial test of the pictures that only one names right.

    Args:
        first_right: bool (n,), whether the first model names each picture right.
        second_right: bool (n,), the same pictures in the same order.
        first: name of the first model.
        second: name of the second model.
        resamples: of the bootstrap, 100 or more.
        seed: of the bootstrap.

    Raises:
        UsageError: there are no pictures, lengths differ, or there are too few resamples.
        MissingExtraError: SciPy is not installed.
    """
    one, other = np.asarray(first_right, np.bool_), np.asarray(second_right, np.bool_)
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise UsageError(
            f"second_right: must be as long as first_right, 1 or more, received {other.shape} and {one.shape}"
        )
    if resamples < 100:
        raise UsageError(f"resamples: must be 100 or more, received {resamples}")
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    return Comparison(
        first=first,
        second=second,
        n=len(one),
        first_accuracy=float(one.mean()),
        second_accuracy=float(other.mean()),
        difference=(only_first - only_second) / len(one),
        interval=_bootstrap(one.astype(np.float64) - other, resamples, seed),
        both_right=int((one & other).sum()),
        only_first=only_first,
        only_second=only_second,
        both_wrong=int((~one & ~other).sum()),
        p_value=_mcnemar(only_first, only_second),
        resamples=resamples,
        seed=seed,
    )


def compare_answers(
    first: Answers, second: Answers, *, first_name: str = "first", second_name: str = "second", seed: int = 0
) -> Comparison:
    """`compare` for what two models said of the same dataset, matched by the names of the pictures.

    Args:
        first: of the model that is judged.
        second: of the other, on all of these pictures; more do no harm.
        first_name: of the first model.
        second_name: of the second model.
        seed: of the bootstrap.

    Raises:
        UsageError: the second was not asked about a picture.
    """
    place = {name: row for row, name in enumerate(second.names.tolist())}
    missing = [name for name in first.names.tolist() if name not in place]
    if missing:
        raise UsageError(f"second: has no answer to {many(len(missing), 'picture')}, such as {missing[0]}")
    rows = [place[name] for name in first.names.tolist()]
    return compare(first.right, second.take(rows).right, first=first_name, second=second_name, seed=seed)


def _mcnemar(only_first: int, only_second: int) -> float:
    if not only_first + only_second:
        return 1.0
    try:
        from scipy.stats import binomtest
    except ImportError as error:
        raise MissingExtraError("comparing models", "evaluate") from error
    return min(1.0, float(binomtest(only_first, only_first + only_second, 0.5).pvalue))


def _bootstrap(differences: NDArray[np.float64], resamples: int, seed: int) -> tuple[float, float]:
    """The interval of the mean of differences (n,), each -1, 0 or 1."""
    if np.all(differences == differences[0]):  # of which every resample is the same
        return float(differences[0]), float(differences[0])
    try:
        from scipy.stats import bootstrap
    except ImportError as error:
        raise MissingExtraError("comparing models", "evaluate") from error
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, BATCH_VALUES // len(differences)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
