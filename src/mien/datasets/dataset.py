"""What `open_dataset` and `Dataset.load` give: an index of faces that is not loaded yet, and faces that are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.datasets import cache as cache_files
from mien.datasets.origins import Origins
from mien.datasets.pixels import Progress, Source, load_pixels
from mien.datasets.splits import SPLITS, count_classes, split_mask
from mien.datasets.storage import decode_names
from mien.errors import DataError, many
from mien.images import Image
from mien.preprocessing import InputSpec, fit_image


@dataclass(frozen=True, eq=False, repr=False)
class Faces:
    """Labelled faces in memory.

    Attributes:
        images: uint8 (n, size, size, channels), RGB where there are three channels.
        labels: int64 (n,) into `classes`, -1 where a face has none.
        splits: (n,) of train, val, public, private and test.
        names: (n,) file or row of each.
        classes: names in the order of the labels.
        format: what they were read from, in words.
        skipped: files and rows that were left out because they cannot be used, each with its reason.
        targets: float32 (n, classes), soft labels to learn instead of `labels`, rows that add up to 1 (or to 0 where a
            face has no label); None where the labels are all there is.
        origins: which faces are of one person or picture; None where nothing says it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: NDArray[np.str_]
    classes: tuple[str, ...]
    format: str = "arrays"
    skipped: tuple[str, ...] = ()
    targets: NDArray[np.float32] | None = None
    origins: Origins | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.images), len(self.labels), len(self.splits), len(self.names)}
        if len(lengths) != 1:
            raise DataError(f"images, labels, splits and names differ in length: {sorted(lengths)}")
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise DataError(
                f"images must be uint8 (n, size, size, channels), received {self.images.dtype} {self.images.shape}"
            )
        check_labels(self.labels, self.classes)
        if self.targets is not None and self.targets.shape != (len(self.labels), len(self.classes)):
            raise DataError(f"targets must be ({len(self.labels)}, {len(self.classes)}), received {self.targets.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Faces: {_shown(self)}; images {self.images.shape}>"

    def take(self, indices: ArrayLike) -> Faces:
        """These rows, in this order: integers, or booleans (n,)."""
        rows = _rows(indices)
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            splits=self.splits[rows],
            names=self.names[rows],
            targets=None if self.targets is None else self.targets[rows],
            origins=None if self.origins is None else self.origins.take(rows),
        )

    def select(self, split: str) -> Faces:
        """The rows of a split; ``test`` is public, private and test together, ``all`` everything.

        Raises:
            UsageError: there are none; the message lists the splits there are.
        """
        return self if split == "all" else self.take(split_mask(self.splits, split))

    def labelled(self) -> Faces:
        """The rows that have a label."""
        has_label = self.labels >= 0
        return self if has_label.all() else self.take(has_label)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many faces each class has in each split."""
        return count_classes(self.splits, self.labels, self.classes)

    def digest(self) -> str:
        """SHA-256 of pixels, labels and class names: the same for the same training data, wherever it was read from."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, np.int64).data)
        if self.targets is not None:
            digest.update(np.ascontiguousarray(self.targets).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Faces on disk: everything is known of them but their pixels.

    Attributes:
        path: folder or file.
        format: what it was found to be, in words.
        classes: names in the order of the labels.
        labels: int64 (n,) into `classes`, -1 where a face has none.
        splits: (n,) of train, val, public, private and test.
        keys: bytes (n,), the names in UTF-8.
        source: gives the pixels.
        positions: int64 (n,) of each face in the source.
        problems: files and rows that cannot be used and are not among the n, each with its reason.
        whole: whether these are all of the source's faces.
        targets: float32 (n, classes), soft labels, or None: see `Faces`.
        origins: which faces are of one person or picture; None where nothing says it.
    """

    path: Path
    format: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    keys: NDArray[np.bytes_]
    source: Source
    positions: NDArray[np.int64]
    problems: tuple[str, ...] = ()
    whole: bool = True
    targets: NDArray[np.float32] | None = None
    origins: Origins | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Dataset {self.path}: {_shown(self)}>"

    @property
    def names(self) -> NDArray[np.str_]:
        """File, relative to the folder or archive, or row of each face: str (n,)."""
        return decode_names(self.keys)

    @property
    def streamable(self) -> bool:
        """Whether single images can be read cheaply, so that the whole need never be in memory."""
        return self.source.streamable

    def counts(self) -> dict[str, dict[str, int]]:
        """How many faces each class has in each split."""
        return count_classes(self.splits, self.labels, self.classes)

    def take(self, indices: ArrayLike) -> Dataset:
        """These rows, in this order: integers, or booleans (n,)."""
        rows = _rows(indices)
        return replace(
            self,
            labels=self.labels[rows],
            splits=self.splits[rows],
            keys=self.keys[rows],
            positions=self.positions[rows],
            problems=(),
            whole=False,
            targets=None if self.targets is None else self.targets[rows],
            origins=None if self.origins is None else self.origins.take(rows),
        )

    def select(self, split: str) -> Dataset:
        """The rows of a split; ``test`` is public, private and test together, ``all`` everything.

        Raises:
            UsageError: there are none; the message lists the splits there are.
        """
        return self if split == "all" else self.take(split_mask(self.splits, split))

    def read(self, index: int, spec: InputSpec) -> Image:
        """Read one face: uint8 (size, size, channels).

        Raises:
            DataError: it cannot be read.
        """
        return fit_image(self.source.read(int(self.positions[index]), spec.channels), spec)

    def load(
        self,
        spec: InputSpec | None = None,
        *,
        skip_bad: bool = False,
        cache: bool = True,
        progress: Progress | None = None,
    ) -> Faces:
        """Read all faces into memory.

        Args:
            spec: size and colour to bring them to; 48 x 48 grey where none is given.
            skip_bad: leave out files and rows that cannot be used instead of refusing the whole.
            cache: read decoded faces from the cache, and keep them there. Parts of a dataset are read from what was
                kept of the whole, and not kept themselves.
            progress: called with how many are done and how many there are.

        Raises:
            DataError: something cannot be used; names all of it.
        """
        faces = self.load_usable(spec or InputSpec(), cache=cache, progress=progress)
        refuse_bad(faces.skipped, len(self) + len(self.problems), skip_bad=skip_bad)
        return faces

    def load_usable(self, spec: InputSpec, *, cache: bool = True, progress: Progress | None = None) -> Faces:
        """Read the faces that can be used, be there none; arguments are those of `load`."""
        images, kept, failed = self._pixels(spec, cache, progress)
        rows = self if len(kept) == len(self) else self.take(kept)
        skipped = self.problems + failed
        words = (self.classes, self.format, skipped)
        return Faces(images, rows.labels, rows.splits, rows.names, *words, rows.targets, rows.origins)

    def _pixels(
        self, spec: InputSpec, cache: bool, progress: Progress | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
        """The images that can be read, which rows they are, and what is wrong with the others."""
        cached = cache and self.source.cacheable
        purpose, fingerprint = f"faces {spec.size} {spec.channels}{self.source.variant}", self.source.fingerprint()
        stored = cache_files.recall(self.path, purpose, fingerprint) if cached else None
        if stored is not None and {"images", "kept", "failed"} <= stored.keys():
            return self._part_of(stored)
        images, failures = load_pixels(self.source, self.positions, spec, progress)
        kept = np.array([row for row in range(len(self)) if row not in failures], np.int64)
        failed = tuple(failures[row] for row in sorted(failures))
        images = images if not failures else images[kept]
        if cached and self.whole:
            arrays: cache_files.Arrays = {"kept": kept, "failed": np.array(failed, np.str_)}
            cache_files.keep(self.path, purpose, fingerprint, arrays, images)
        return images, kept, failed

    def _part_of(self, stored: cache_files.Arrays) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
        """This dataset's rows of what was kept of the whole it is a part of."""
        images, kept, failed = stored["images"], stored["kept"], stored["failed"]
        if self.whole:
            return images, kept, tuple(failed.tolist())
        place = np.full(len(kept) + len(failed), -1, np.int64)
        place[kept] = np.arange(len(kept))
        reason = dict(zip(np.flatnonzero(place < 0).tolist(), failed.tolist(), strict=True))
        places = place[self.positions]
        missing = self.positions[places < 0].tolist()
        return images[places[places >= 0]], np.flatnonzero(places >= 0), tuple(reason[row] for row in missing)


def _shown(faces: Faces | Dataset) -> str:
    """What Python shows of a dataset, be it loaded or not."""
    splits = ", ".join(f"{split} {(faces.splits == split).sum():,}" for split in SPLITS if split in faces.splits)
    return f"{faces.format}, {many(len(faces), 'face')} ({splits or 'in no split'}); {', '.join(faces.classes)}"


def _rows(indices: ArrayLike) -> NDArray[Any]:
    """An index into arrays; an empty list is one too."""
    rows = np.asarray(indices)
    return rows if rows.size else np.empty(0, np.int64)


def refuse_bad(bad: tuple[str, ...], total: int, *, skip_bad: bool) -> None:
    """Raise the one error that names everything that cannot be used, unless it is to be skipped and something is left.

    Raises:
        DataError: there are bad files or rows.
    """
    if bad and len(bad) == total:
        raise DataError("no face can be used", bad)
    if bad and not skip_bad:
        raise DataError(
            f"{len(bad):,} of {many(total, 'face')} cannot be used (skip_bad=True or --skip-bad goes on without them)",
            bad,
        )


def check_labels(labels: NDArray[np.int64], classes: tuple[str, ...]) -> None:
    """Every label has a name.

    Raises:
        DataError: a label is below -1, or there are fewer classes.
    """
    strange = sorted({int(label) for label in labels[(labels < -1) | (labels >= len(classes))]})
    if strange:
        raise DataError(
            f"labels without a name (of {many(len(classes), 'class', 'classes')}; -1 is no label)",
            [str(label) for label in strange],
        )
