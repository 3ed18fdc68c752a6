"""MTCNN on ONNX Runtime: finds faces and five points of each.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", IEEE
Signal Processing Letters 23 (2016), with the published weights as the ``mtcnn`` distribution brings them. docs/faces.md
says how well and how fast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from mien.errors import UsageError
from mien.faces.cascade import find
from mien.faces.detection import Detections
from mien.faces.dropin import STAGES, Wording, check_fixed, to_dicts, to_told
from mien.faces.following import follow
from mien.faces.options import CROP_THRESHOLDS, THRESHOLDS, Options
from mien.faces.pyramid import Pyramid
from mien.faces.running import Networks
from mien.images import Image, check_image, check_several, read_pixels
from mien.numeric import is_whole

_LONGEST = 32_000
"""OpenCV remaps pictures of fewer than 32,767 rows and columns; longer ones are shrunk."""

_STACK_PIXELS = 2**20
"""Small pictures of one size are taken together up to so many pixels, so that memory stays the same."""


class MTCNN:
    """Finds faces. Safe to share between threads, can be pickled, gives the same answers with any number of threads.

    Attributes:
        name: what ``--detector`` calls it.
        options: what it was made with.
    """

    name = "mtcnn"

    def __init__(
        self,
        stages: str = STAGES,
        device: str = "cpu",
        *,
        min_face_size: float = 20,
        scale_factor: float = 0.709,
        thresholds: Sequence[float] = THRESHOLDS,
        threads: int = 0,
        steady: bool = True,
        most: int | None = None,
        border: int = 0,
    ) -> None:
        """Read the weights; takes about 0.1 s.

        Args:
            stages: for those who come from ``mtcnn``; all three networks are the only choice.
            device: ``cpu``, ``auto`` or a key of `mien.sessions.PROVIDERS`; ``CPU:0`` and ``GPU:0`` as in ``mtcnn``.
            min_face_size: side of the smallest face to find, from 4 pixels. Twice the size, a quarter of the time.
            scale_factor: of one scale to the next, 0.2 to 0.95.
            thresholds: scores of P-Net, R-Net and O-Net, each between 0 and 1.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.
            steady: look at each face again from three places aside and average; 1.2 ms a face.
            most: find at most so many faces in a picture, the likeliest ones, 1 or more; None for all.
            border: continue the picture's edge by so many pixels before looking, so that faces it cuts are found.

        Raises:
            UsageError: an option is out of range, or the device is not there.
            ModelError: the weights cannot be read.
        """
        self.options = {name: value for name, value in locals().items() if name != "self"}
        check_fixed({"stages": stages})
        self._options = Options(min_face_size, scale_factor, thresholds, steady, most, border)
        self._networks = Networks(device, threads)

    def __repr__(self) -> str:
        return f"MTCNN({', '.join(f'{name}={value!r}' for name, value in self.options.items() if name != 'stages')})"

    @classmethod
    def for_crops(cls, side: int = 48, **options: Any) -> MTCNN:
        """A detector for pictures that hold one face each and little else, such as FER2013's; the fastest there is.

        Faces are about three quarters as wide as the picture or more; there is one at most; edges are continued by a
        quarter, as faces reach beyond them. Enlarging the crops first is not needed.

        Args:
            side: of the crops, in pixels, from 16.
            **options: any of `MTCNN`'s, which take precedence.
        """
        if not is_whole(side) or side < 16:
            raise UsageError(f"side: must be 16 pixels or more, received {side!r}")
        chosen = {"min_face_size": 0.75 * side, "border": side // 4, "most": 1, "steady": False}
        return cls(**{**chosen, "thresholds": CROP_THRESHOLDS, **options})

    def detect(self, image: Image) -> Detections:
        """The faces of one picture.

        Args:
            image: uint8 (height, width), (height, width, 1) or (height, width, 3) RGB, upright, at least 1 x 1.

        Raises:
            UsageError: it is not such an array.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """The faces of each picture: as `detect` gives them, to rounding. Small pictures of one size go together.

        Raises:
            UsageError: it is a single picture, or one is not as for `detect`.
        """
        check_several(images, "for one, call detect")
        images = [check_image(image) for image in images]
        results = [Detections.none()] * len(images)
        for rows in _stacks([image.shape[:2] for image in images], self._options.border):
            for row, found in zip(rows, self._find([images[row] for row in rows]), strict=True):
                results[row] = found
        return results

    def follow(self, image: Image, before: Detections) -> Detections:
        """Find the faces of the frame before again, near where they were, with O-Net alone; about 1.6 ms a face.

        Keeps up with faces that move by up to a fifth of their width from frame to frame.

        Args:
            image: as for `detect`.
            before: faces of the frame before.

        Returns:
            As many as `before`, in the same order. Where the face is gone, the score is below 0.5 and the box stays.
        """
        check_image(image)
        return follow(_rgb(image), before, self._networks)

    def detect_faces(
        self,
        image: Any,
        fit_to_image: bool = True,
        limit_boundaries_landmarks: bool = False,
        box_format: str = "xywh",
        **options: Any,
    ) -> Any:
        """What ``mtcnn.MTCNN().detect_faces`` gives, for its users: see `detect_faces` of this module."""
        wording = Wording(box_format, fit_to_image, limit_boundaries_landmarks)
        told = to_told(options, self._options.thresholds)
        several = isinstance(image, list | tuple)
        pictures = [read_pixels(one) for one in (image if several else [image])]
        found = self.with_options(**told).detect_batch(pictures)
        dicts = [to_dicts(faces, one.shape[:2], wording) for faces, one in zip(found, pictures, strict=True)]
        return dicts if several else dicts[0]

    def with_options(self, **options: Any) -> MTCNN:
        """A detector with the same networks, which are not read again, and other options.

        Args:
            **options: ``min_face_size``, ``scale_factor``, ``thresholds``, ``steady``, ``most``, ``border`` of `MTCNN`.

        Raises:
            UsageError: one is out of range.
        """
        other = object.__new__(MTCNN)
        other.options = {**self.options, **options}
        other._options = replace(self._options, **options)
        other._networks = self._networks
        return other

    def _find(self, images: Sequence[Image]) -> list[Detections]:
        """Faces of pictures of one size."""
        pictures = [_rgb(image) for image in images]
        longest = max(pictures[0].shape[:2]) + 2 * self._options.border
        if longest > _LONGEST:
            return [self._find_shrunk(pictures[0], _LONGEST / longest)]
        if not self._options.border:
            return find(Pyramid(pictures), self._networks, self._options)
        found = find(
            Pyramid([_framed(picture, self._options.border) for picture in pictures]), self._networks, self._options
        )
        return [_moved(faces, 1.0, -self._options.border) for faces in found]

    def _find_shrunk(self, picture: Image, factor: float) -> Detections:
        height, width = (max(1, int(side * factor)) for side in picture.shape[:2])
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return _moved(self._find([small])[0], 1 / factor, 0)

    def __getstate__(self) -> dict[str, Any]:
        return self.options

    def __setstate__(self, options: dict[str, Any]) -> None:
        self.__init__(**options)  # type: ignore[misc]


def detect_faces(image: Any, *, device: str = "cpu", threads: int = 0, **options: Any) -> Any:
    """What ``mtcnn.MTCNN().detect_faces(image)`` gives, so that its users can change over.

    Args:
        image: an array as for `MTCNN.detect`, a path, bytes, a Pillow image; or a list of such.
        device: as for `MTCNN`.
        threads: as for `MTCNN`.
        **options: how answers are worded: ``box_format``, ``xywh`` or ``xyxy``; ``fit_to_image``, whether boxes are
            cut at the picture's edges, and with it ``limit_boundaries_landmarks``, whether keypoints are. What to look
            for: ``min_face_size``, ``scale_factor``, ``threshold_pnet``, ``threshold_rnet``, ``threshold_onet``; or
            ``thresholds``, ``steady``, ``most``, ``border`` of `MTCNN`. Other options of ``mtcnn`` are taken where they
            change nothing, as ``output_type="json"``, and refused else.

    Returns:
        A list of dicts: ``box`` (four integers), ``confidence`` (0 to 1), ``keypoints`` with ``nose``, ``mouth_right``,
        ``right_eye``, ``left_eye``, ``mouth_left``, each [x, y]. The left eye is, as in ``mtcnn``, the one further left
        in the picture, the person's right. For a list of pictures, a list of such lists. Largest face first.

    Raises:
        UsageError: it is no picture, or an option is out of range or not supported.
        DataError: a file cannot be read.
    """
    return _shared(device, threads).detect_faces(image, **options)


@lru_cache(maxsize=4)
def _shared(device: str, threads: int) -> MTCNN:
    return MTCNN(device=device, threads=threads)


def _stacks(sizes: Sequence[tuple[int, ...]], border: int) -> Iterator[list[int]]:
    """Rows of pictures that go together: of one size, few enough."""
    by_size = defaultdict(list)
    for row, size in enumerate(sizes):
        by_size[size].append(row)
    for (height, width), rows in by_size.items():
        height, width = height + 2 * border, width + 2 * border
        most = min(_LONGEST // (2 * height), _STACK_PIXELS // (height * width))
        step = 1 if max(height, width) > _LONGEST else max(1, most)
        yield from (rows[start : start + step] for start in range(0, len(rows), step))


def _rgb(image: Image) -> Image:
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2RGB), np.uint8)


def _framed(picture: Image, border: int) -> Image:
    framed = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_REPLICATE)
    return np.asarray(framed, np.uint8)


def _moved(faces: Detections, factor: float, offset: float) -> Detections:
    scale, shift = np.float32(factor), np.float32(offset)
    return Detections(faces.boxes_xyxy * scale + shift, faces.scores, faces.keypoints * scale + shift)
