"""Datasets larger than memory: batches read from the files as they are needed, by Google's grain.

Memory does not grow with the number of images but for their names and labels (about 0.2 kB each): the order of an
epoch is computed, not stored, and no more than a few batches are decoded ahead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.cores import usable_cores
from mien.datasets import cache as cache_files
from mien.datasets.dataset import Dataset, Faces, refuse_bad
from mien.datasets.duplicates import pixel_digest
from mien.datasets.pixels import Progress
from mien.errors import MissingExtraError, UsageError
from mien.images import Image
from mien.preprocessing import InputSpec

LIMIT_BYTES = 256 * 1024**2
"""Datasets that are larger once decoded are streamed. FER2013 has 83 MB."""

BATCHES_AHEAD = 4
"""Batches that are decoded before they are asked for; one for each thread where there are more threads."""

MAX_THREADS = 16
"""Threads that decode: one a core, no more than this."""

ALL = slice(None)
"""All rows of a batch."""

Batch = tuple[NDArray[np.uint8], NDArray[np.int64] | NDArray[np.float32]]


def should_stream(dataset: Dataset, spec: InputSpec, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Whether a dataset is better read image by image than held in memory, and can be."""
    return dataset.streamable and len(dataset) * spec.size**2 * spec.channels > limit_bytes


def refuse_unstreamable(dataset: Dataset) -> None:
    """Refuse a dataset whose images cannot be read one by one.

    Raises:
        UsageError: says what to do instead.
    """
    if not dataset.streamable:
        raise UsageError(
            f"dataset: {dataset.format} cannot be streamed; load it whole (--in-memory), or unpack it into a folder"
        )


def epoch_batches(
    dataset: Dataset,
    spec: InputSpec,
    *,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    drop_remainder: bool = False,
) -> Iterator[Batch]:
    """Read one epoch in batches, decoded in threads a few batches ahead.

    The order follows from (seed, epoch) alone. The last batch may be smaller.

    Args:
        dataset: a streamable dataset; unlabelled faces come with label -1.
        spec: size and colour to bring the images to.
        batch_size: images a batch.
        seed: of the run, 0 or more.
        epoch: number of the epoch, 0 or more.
        shuffle: otherwise in the dataset's own order.
        drop_remainder: leave out a last batch that is smaller.

    Yields:
        Images uint8 (b, size, size, channels) and labels int64 (b,), or soft targets float32 (b, classes) where the
        dataset has them.

    Raises:
        UsageError: the dataset cannot be read image by image, or an argument is out of range.
        MissingExtraError: grain is not installed (it does not exist for Windows).
        DataError: an image cannot be read; `survey` finds all of them beforehand.
    """
    threads = min(usable_cores(), MAX_THREADS)
    options = import_grain().ReadOptions(num_threads=threads, prefetch_buffer_size=max(BATCHES_AHEAD, threads))
    rows = epoch_dataset(
        dataset, spec, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle, drop_remainder=drop_remainder
    )
    return iter(rows.to_iter_dataset(options)) if len(rows) else iter(())


def epoch_dataset(
    dataset: Dataset,
    spec: InputSpec,
    *,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    drop_remainder: bool = False,
    rows: slice = ALL,
) -> Any:
    """The batches of one epoch as a `grain.MapDataset`: its i-th item reads and decodes the i-th batch, in any thread.

    Arguments and errors are those of `epoch_batches`, which reads them in order and ahead. Of each batch only `rows`
    are read, such as those of one host among several; what a batch holds does not depend on them.
    """
    refuse_unstreamable(dataset)
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("epoch", epoch, 0)):
        if value < least:
            raise UsageError(f"{name}: must be at least {least}, received {value}")
    grain = import_grain()
    order = grain.MapDataset.source(range(len(dataset)))
    if shuffle:
        order = order.shuffle(seed=_epoch_seed(seed, epoch))
    return order.batch(batch_size, drop_remainder=drop_remainder).map(_Reader(dataset, spec, rows))


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@dataclass(frozen=True)
class _Reader:
    """From the rows of one batch to the batch; grain calls it from its threads."""

    dataset: Dataset
    spec: InputSpec
    wanted: slice

    def __call__(self, rows: Sequence[int]) -> Batch:
        chosen = np.asarray(rows, np.int64)[self.wanted]
        images = np.empty((len(chosen), *self.spec.shape), np.uint8)
        for place, row in enumerate(chosen.tolist()):
            images[place] = self.dataset.read(row, self.spec)
        known = self.dataset.labels if self.dataset.targets is None else self.dataset.targets
        return images, known[chosen]


def import_grain() -> Any:
    """The package grain, imported without its remark about JAX's profiler.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with _quiet("absl"):
            import grain
    except ImportError as error:
        raise MissingExtraError("streaming images from disk (by grain, for Linux and macOS)", "train") from error
    return grain


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def in_parts(
    dataset: Dataset,
    spec: InputSpec,
    *,
    skip_bad: bool = False,
    limit_bytes: int = LIMIT_BYTES,
    progress: Progress | None = None,
) -> Iterator[Faces]:
    """Read a dataset in its own order, no more than fits the limit at once: whole, where it is small enough.

    Args:
        dataset: any dataset with at least one face.
        spec: size and colour to bring the images to.
        skip_bad: leave out files and rows that cannot be used instead of refusing the part they are in; a part may then
            be empty, but not all of them.
        limit_bytes: how large a part may be.
        progress: called with how many are done and how many there are.

    Raises:
        DataError: something cannot be used.
    """
    if not should_stream(dataset, spec, limit_bytes):
        yield dataset.load(spec, skip_bad=skip_bad, progress=progress)
        return
    size = max(1, limit_bytes // (spec.size**2 * spec.channels))
    bad: list[str] = []
    for start in range(0, len(dataset), size):
        rows = np.arange(start, min(start + size, len(dataset)))
        part = dataset.take(rows).load_usable(spec, cache=False)
        bad += part.skipped
        refuse_bad(part.skipped, len(dataset), skip_bad=skip_bad)
        yield part
        if progress:
            progress(int(rows[-1]) + 1, len(dataset))
    refuse_bad(tuple(bad), len(dataset), skip_bad=skip_bad)


def check_images(
    dataset: Dataset, *, skip_bad: bool = False, cache: bool = True, progress: Progress | None = None
) -> tuple[Dataset, NDArray[np.int64], tuple[str, ...]]:
    """See that every image can be read before hours of training.

    Args:
        dataset: any dataset. The result for a whole one is cached until its files change, so check before selecting.
        skip_bad: leave out files and rows that cannot be used instead of refusing the whole.
        cache: read and keep the result.
        progress: called with how many are done and how many there are.

    Returns:
        The dataset without bad images; int64 (n,), the same number for identical pixels, for `holdout_groups`; and the
        bad files and rows, each with its reason.

    Raises:
        DataError: something cannot be used; names all of it.
    """
    found = survey(dataset, cache=cache, progress=progress)
    bad = dataset.problems + found.bad
    refuse_bad(bad, len(dataset) + len(dataset.problems), skip_bad=skip_bad)
    return (dataset.take(found.usable) if found.bad else dataset), found.groups[found.usable], bad


@dataclass(frozen=True, eq=False)
class Survey:
    """What reading every image once has shown.

    Attributes:
        bad: images that cannot be read, each with its reason.
        usable: rows that can, int64 (m,), for `Dataset.take`.
        groups: int64 (n,), the same number for identical pixels; -1 for bad images. For `holdout_groups`.
        shapes: int32 (n, 3): height, width and channels (1 where the three colours are equal) of each as it is stored;
            zeros for bad images.
    """

    bad: tuple[str, ...]
    usable: NDArray[np.int64]
    groups: NDArray[np.int64]
    shapes: NDArray[np.int32]

    def sizes(self) -> dict[str, int]:
        """How many images have each size and colour: ``{"48x48 grey": 32298}`` (width by height), most common first."""
        shapes, counts = np.unique(self.shapes[self.usable], axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        words = {1: "grey", 3: "colour"}
        return {f"{shapes[i][1]}x{shapes[i][0]} {words[int(shapes[i][2])]}": int(counts[i]) for i in order}


def survey(dataset: Dataset, *, cache: bool = True, progress: Progress | None = None) -> Survey:
    """Read every image once, in flat memory: before hours of training, whatever cannot be decoded should be known.

    Args:
        dataset: any dataset. The result for a whole one is cached until its files change.
        cache: read and keep that result.
        progress: called with how many are done and how many there are.
    """
    cached = cache and dataset.whole
    purpose, fingerprint = f"survey{dataset.source.variant}", dataset.source.fingerprint()
    stored = cache_files.recall(dataset.path, purpose, fingerprint) if cached else None
    if stored is not None and {"bad", "groups", "shapes"} <= stored.keys():
        return _survey(tuple(stored["bad"].tolist()), stored["groups"], stored["shapes"])
    found = _read_all(dataset, progress)
    if cached:
        arrays = {"bad": np.array(found.bad, np.str_), "groups": found.groups, "shapes": found.shapes}
        cache_files.keep(dataset.path, purpose, fingerprint, arrays)
    return found


def _read_all(dataset: Dataset, progress: Progress | None) -> Survey:
    digests = np.zeros(len(dataset), "S16")
    shapes = np.zeros((len(dataset), 3), np.int32)

    def use(place: int, image: Image) -> None:
        shapes[place] = (*image.shape[:2], 1 if is_grey(image) else 3)
        digests[place] = pixel_digest(image)

    failures = dataset.source.each(dataset.positions, use, channels=3, progress=progress)
    groups = np.unique(digests, return_inverse=True)[1].astype(np.int64)
    groups[list(failures)] = -1
    return _survey(tuple(failures[place] for place in sorted(failures)), groups, shapes)


def _survey(bad: tuple[str, ...], groups: NDArray[np.int64], shapes: NDArray[np.int32]) -> Survey:
    return Survey(bad, np.flatnonzero(groups >= 0), groups, shapes)


def is_grey(image: Image) -> bool:
    """Whether an image has no colour: one channel, or three that are equal."""
    if image.ndim == 2 or image.shape[2] == 1:
        return True
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))
