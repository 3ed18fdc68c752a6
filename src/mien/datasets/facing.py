"""Finding the face in each image of a dataset, once, so that training sees faces and not photographs.

One pass finds the boxes, sixteen bytes an image, which are cached; from then on the dataset reads each image cut to its
face, in memory or streamed, as if it had always been so. An image without a face stays whole.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.datasets import cache as cache_files
from mien.datasets.dataset import Dataset
from mien.datasets.pixels import Progress, Source, Use
from mien.errors import UsageError
from mien.faces import MTCNN, Detections, Detector
from mien.framing import FER2013_MARGIN, cut_face
from mien.images import Image

Detect = bool | Literal["auto"]
"""Whether faces are looked for: ``auto`` looks at a few images and leaves face crops as they are."""

CROP_SIDE = 128
"""Images of which no side is longer are looked at as face crops: for one face that fills most of them."""

CROP_SIDES = (16, 24, 32, 48, 64, 96)
"""Sizes of crops that have a detector of their own; others take that of the next smaller size."""

GROUP = 256
"""The most images that are looked at together."""

GROUP_PIXELS = 16_000_000
"""No more pixels than these are held waiting."""

VERSION = 1
"""Raised when boxes are found otherwise, so that cached ones are found anew."""

SAMPLE = 48
"""How many images decide for ``auto``."""

FILLS = 0.5
"""A face whose box is at least so high, as a share of the image, has been cut out already."""


@dataclass(frozen=True, eq=False)
class FaceBoxes:
    """Where the faces of a dataset are.

    Attributes:
        boxes_xyxy: float32 (n, 4), the largest face of each image in its own pixels; NaN where there is none.
    """

    boxes_xyxy: NDArray[np.float32]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Bool (n,): whether an image has a face."""
        return np.isfinite(self.boxes_xyxy[:, 0])


def with_faces(
    dataset: Dataset,
    detect: Detect = "auto",
    *,
    margin: float = FER2013_MARGIN,
    cache: bool = True,
    progress: Progress | None = None,
) -> tuple[Dataset, int | None]:
    """A dataset whose images are cut to their largest face.

    Args:
        dataset: any dataset.
        detect: True, False, or ``auto``: see `needs_detection`.
        margin: how far boxes are widened; see `mien.framing.square`.
        cache: read boxes from the cache, and keep those of a whole dataset there.
        progress: called with images looked at so far and in all.

    Returns:
        The dataset, and how many of its images have no face and stay whole; or the dataset as it was, and None.

    Raises:
        UsageError: `detect` is something else.
    """
    if not isinstance(detect, bool) and detect != "auto":
        raise UsageError(f"detect_faces: must be True, False or 'auto', received {detect!r}")
    if detect is False or (detect == "auto" and not needs_detection(dataset)):
        return dataset, None
    boxes = find_boxes(dataset, cache=cache, progress=progress)
    by_position = np.full((int(dataset.positions.max(initial=-1)) + 1, 4), np.nan, np.float32)
    by_position[dataset.positions] = boxes.boxes_xyxy
    source = FaceSource(dataset.source, by_position, margin)
    return replace(dataset, source=source), int((~boxes.found).sum())


def count_without_face(dataset: Dataset) -> int | None:
    """How many images of what `with_faces` gave, or of a part of it, have no face; None where none was looked for."""
    if not isinstance(dataset.source, FaceSource):
        return None
    return int((~FaceBoxes(dataset.source.boxes_xyxy[dataset.positions]).found).sum())


def needs_detection(dataset: Dataset) -> bool:
    """Whether a dataset holds photographs rather than faces that are cut out already, by a few of its images.

    Images of `CROP_SIDE` pixels and less are crops. Of larger ones, most must show a face, and half of these a face
    that is lower than `FILLS` of the image.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(SAMPLE, len(dataset))).astype(np.int64))
    images: list[Image] = []
    lock = threading.Lock()

    def use(place: int, image: Image) -> None:
        del place
        with lock:
            images.append(image)

    dataset.source.each(dataset.positions[rows], use, channels=3)
    large = [image for image in images if not is_crop(image)]
    if 2 * len(large) <= len(images):
        return False
    found = [(faces, image) for faces, image in zip(MTCNN().detect_batch(large), large, strict=True) if len(faces)]
    shares = [(faces.boxes_xyxy[0, 3] - faces.boxes_xyxy[0, 1]) / image.shape[0] for faces, image in found]
    return bool(2 * len(shares) > len(large) and np.median(shares) < FILLS)


def is_crop(image: Image) -> bool:
    """Whether an image is so small that it is looked at as a face crop."""
    height, width = image.shape[:2]
    return bool(max(height, width) <= CROP_SIDE)


def find_boxes(dataset: Dataset, *, cache: bool = True, progress: Progress | None = None) -> FaceBoxes:
    """Look for the largest face in every image: in flat memory, many images together.

    Args:
        dataset: any dataset. Images that cannot be read have no face; reading them says what is wrong.
        cache: read boxes from the cache, and keep those of a whole dataset there.
        progress: called with images looked at so far and in all.
    """
    fingerprint = f"{dataset.source.fingerprint()} mtcnn {VERSION} {CROP_SIDE}"
    cached = cache and dataset.whole
    stored = cache_files.recall(dataset.path, "boxes", fingerprint) if cached else None
    if stored is not None and stored.get("boxes", np.empty(0)).shape == (len(dataset), 4):
        return FaceBoxes(stored["boxes"])
    finder = _Finder(len(dataset))
    dataset.source.each(dataset.positions, finder.take, channels=3, progress=progress)
    finder.finish()
    if cached:
        cache_files.keep(dataset.path, "boxes", fingerprint, {"boxes": finder.boxes})
    return FaceBoxes(finder.boxes)


class _Finder:
    """Collects images of one size, from several threads, until there are enough to look at together."""

    def __init__(self, count: int) -> None:
        self.boxes = np.full((count, 4), np.nan, np.float32)
        self._waiting: dict[tuple[int, ...], list[tuple[int, Image]]] = defaultdict(list)
        self._pixels = 0
        self._lock = threading.Lock()
        self._detectors: dict[int, Detector] = {}

    def take(self, place: int, image: Image) -> None:
        """Take one image; whoever brings the last of a group looks at the group."""
        with self._lock:
            self._waiting[image.shape].append((place, image))
            self._pixels += image.size
            full = len(self._waiting[image.shape]) >= GROUP
            ready = self._pop([image.shape] if full else list(self._waiting) if self._pixels > GROUP_PIXELS else [])
        self._look(ready)

    def finish(self) -> None:
        """Look at what is left."""
        with self._lock:
            ready = self._pop(list(self._waiting))
        self._look(ready)

    def _pop(self, shapes: Sequence[tuple[int, ...]]) -> list[list[tuple[int, Image]]]:
        ready = [self._waiting.pop(shape) for shape in shapes]
        self._pixels -= sum(image.size for group in ready for _, image in group)
        return ready

    def _look(self, groups: Sequence[list[tuple[int, Image]]]) -> None:
        for group in groups:
            images = [image for _, image in group]
            for (place, _), faces in zip(group, self._detector(images[0]).detect_batch(images), strict=True):
                self._note(place, faces)

    def _detector(self, image: Image) -> Detector:
        """The detector for images like this one: for face crops of about its size, or for photographs."""
        side = max((side for side in CROP_SIDES if side <= max(image.shape[:2])), default=CROP_SIDES[0])
        side = side if is_crop(image) else 0
        with self._lock:
            if side not in self._detectors:
                self._detectors[side] = MTCNN.for_crops(side) if side else MTCNN()
            return self._detectors[side]

    def _note(self, place: int, faces: Detections) -> None:
        if len(faces):
            self.boxes[place] = faces.boxes_xyxy[0]


class FaceSource:
    """Another source's images, each cut to its face.

    Args:
        inner: gives the images.
        boxes_xyxy: float32 (m, 4) by position; NaN where the image stays whole.
        margin: see `mien.framing.square`.
    """

    def __init__(self, inner: Source, boxes_xyxy: NDArray[np.float32], margin: float) -> None:
        self.inner = inner
        self.boxes_xyxy = boxes_xyxy
        self.margin = margin

    cacheable = True
    variant = " cut to faces"

    @property
    def streamable(self) -> bool:
        """See `Source.streamable`."""
        return self.inner.streamable

    def fingerprint(self) -> str:
        """See `Source.fingerprint`: another box makes another image."""
        digest = hashlib.sha256(np.ascontiguousarray(self.boxes_xyxy).data).hexdigest()
        return f"{self.inner.fingerprint()} {digest} {self.margin}"

    def read(self, position: int, channels: int) -> Image:
        """See `Source.read`."""
        return self._cut(position, self.inner.read(position, channels))

    def each(
        self, positions: NDArray[np.int64], use: Use, *, channels: int, progress: Progress | None = None
    ) -> dict[int, str]:
        """See `Source.each`."""

        def cut(place: int, image: Image) -> None:
            use(place, self._cut(int(positions[place]), image))

        return self.inner.each(positions, cut, channels=channels, progress=progress)

    def _cut(self, position: int, image: Image) -> Image:
        box = self.boxes_xyxy[position]
        return cut_face(image, box, self.margin) if np.isfinite(box[0]) else image
