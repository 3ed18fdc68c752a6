"""Faces that are parts of larger pictures, cut out by their boxes when they are read.

Boxes are those of pictures that stand upright, as `mien.images.decode` gives them. A face is the square around the part
of its box that lies in the picture, cut as faces are that MTCNN or a caller of `mien.Analyzer` finds (`mien.framing`).
A box that is the whole picture leaves it whole.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from mien.datasets.box_rows import BoxIndex, clip
from mien.datasets.pixels import Files, Progress, Use, decode_blob, in_threads
from mien.datasets.storage import Blob, Storage, decode_names
from mien.datasets.tables import RowError
from mien.errors import DataError
from mien.framing import FER2013_MARGIN, cut_face
from mien.images import Image


class CutFiles(Files):
    """Parts of image files in a folder or an archive.

    Args:
        storage: has the pictures.
        index: which they are, and where the faces in them are.
        fingerprint: of the pictures.
    """

    def __init__(self, storage: Storage, index: BoxIndex, fingerprint: str) -> None:
        digest = hashlib.sha256(fingerprint.encode())
        for array in (index.keys, index.files, index.pictures, index.boxes_xyxy, index.sizes_wh):
            digest.update(np.ascontiguousarray(array).data)
        super().__init__(storage, index.keys, f"{digest.hexdigest()} {index.shares} {FER2013_MARGIN}")
        self._index = index

    def read(self, position: int, channels: int) -> Image:
        """See `Source.read`: the whole picture is decoded for each face."""
        file = self._index.files[self._index.pictures[position]].decode("utf-8", "surrogateescape")
        try:
            return self._cut(position, decode_blob(lambda: self.storage.read(file), channels))
        except DataError as error:
            name = self.names[position].decode("utf-8", "surrogateescape")
            raise DataError("image cannot be used", [f"{name} ({error})"]) from error

    def each(
        self, positions: NDArray[np.int64], use: Use, *, channels: int, progress: Progress | None = None
    ) -> dict[int, str]:
        """See `Source.each`: each picture is decoded once for all its faces."""
        pictures, inverse = np.unique(self._index.pictures[positions], return_inverse=True)
        places = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
        names: list[str] = decode_names(self.names[positions]).tolist()
        failures = {place: f"{name} (is gone)" for place, name in enumerate(names)}

        def work(chunk: list[tuple[int, Blob]]) -> int:
            for picture, blob in chunk:
                self._take(blob, places[picture].tolist(), positions, channels, use, failures)
            return sum(len(places[picture]) for picture, _ in chunk)

        done = 0
        for finished in in_threads(work, self.storage.blobs(decode_names(self._index.files[pictures]).tolist())):
            done += finished
            if progress:
                progress(done, len(names))
        return failures

    def _take(
        self,
        blob: Blob,
        places: list[int],
        positions: NDArray[np.int64],
        channels: int,
        use: Use,
        failures: dict[int, str],
    ) -> None:
        """Give the faces of one picture to `use`; what fails for one of them gets its reason."""
        picture: Image | DataError
        try:
            picture = decode_blob(blob, channels)
        except DataError as error:
            picture = error
        for place in places:
            name = failures[place].removesuffix(" (is gone)")
            try:
                if isinstance(picture, DataError):
                    raise picture
                image = self._cut(int(positions[place]), picture)
            except DataError as error:
                failures[place] = f"{name} ({error})"
            else:
                use(place, image)
                del failures[place]

    def _cut(self, position: int, picture: Image) -> Image:
        """One face of a picture; the error is the bare reason."""
        height, width = picture.shape[:2]
        said = tuple(self._index.sizes_wh[position].tolist())
        if 0 not in said and said != (width, height):
            raise DataError(
                f"the picture is {width}x{height}, upright, and its boxes were drawn in one of {said[0]}x{said[1]}"
            )
        box = self._index.boxes_xyxy[position] * (np.array([width, height] * 2) if self._index.shares else 1)
        try:
            inside = clip(tuple(box.tolist()), width, height)
        except RowError as error:
            raise DataError(f"{error}, which is {width}x{height}") from None
        if [round(edge) for edge in inside] == [0, 0, width, height]:
            return picture
        return np.array(cut_face(picture, inside, FER2013_MARGIN))  # a view would hold the whole picture
