"""The pixels behind a dataset: image files decoded in threads, or an array that is in memory already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.cores import usable_cores
from mien.datasets.storage import Blob, Storage, decode_names
from mien.errors import DataError
from mien.images import Image, decode
from mien.preprocessing import InputSpec, fit_image

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

Use = Callable[[int, Image], None]
"""Takes the place of an image among those asked for, and its pixels. Called from several threads at once."""

CHUNK = 32
"""Images a thread takes at a time: enough to make handing over cheap, few enough to bound what is in flight."""

LFS_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has not fetched."""

T = TypeVar("T")


class Source(Protocol):
    """Gives the pixels of each position."""

    @property
    def streamable(self) -> bool:
        """Whether images are read one by one from where they lie, rather than held in memory."""

    @property
    def cacheable(self) -> bool:
        """Whether reading them costs enough to keep the result."""

    @property
    def variant(self) -> str:
        """Tells cached pixels of one path apart: empty for images as they are stored."""

    def fingerprint(self) -> str:
        """Changes when a pixel may have changed."""

    def read(self, position: int, channels: int) -> Image:
        """One image as it is stored: uint8 (height, width) or (height, width, 3).

        Raises:
            DataError: it cannot be read; names it.
        """

    def each(
        self, positions: NDArray[np.int64], use: Use, *, channels: int, progress: Progress | None = None
    ) -> dict[int, str]:
        """Read many images and pass each to `use`.

        Returns:
            The places of those that cannot be read, each with name and reason.
        """


class Files:
    """Image files in a folder or an archive; `names` are bytes (n,), as `encode_names` gives them."""

    cacheable = True
    variant = ""

    def __init__(self, storage: Storage, names: NDArray[np.bytes_], fingerprint: str) -> None:
        self.storage = storage
        self.names = names
        self._fingerprint = fingerprint

    @property
    def streamable(self) -> bool:
        """See `Source.streamable`."""
        return self.storage.random_access

    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return self._fingerprint

    def read(self, position: int, channels: int) -> Image:
        """See `Source.read`."""
        name = self.names[position].decode("utf-8", "surrogateescape")
        try:
            return decode_blob(lambda: self.storage.read(name), channels)
        except DataError as error:
            raise DataError("image cannot be used", [f"{name} ({error})"]) from error

    def each(
        self, positions: NDArray[np.int64], use: Use, *, channels: int, progress: Progress | None = None
    ) -> dict[int, str]:
        """See `Source.each`."""
        names: list[str] = decode_names(self.names[positions]).tolist()
        failures = {place: f"{name} (is gone)" for place, name in enumerate(names)}

        def work(chunk: list[tuple[int, Blob]]) -> int:
            for place, blob in chunk:
                try:
                    image = decode_blob(blob, channels)
                except DataError as error:
                    failures[place] = f"{names[place]} ({error})"
                else:
                    use(place, image)
                    del failures[place]
            return len(chunk)

        done = 0
        for finished in in_threads(work, self.storage.blobs(names)):
            done += finished
            if progress:
                progress(done, len(names))
        return failures


class Held:
    """Images of one size in an array, as CSV and npz files give them.

    Args:
        images: uint8 (n, height, width) or (n, height, width, 3).
        fingerprint: of the file they came from.
    """

    streamable = False
    cacheable = False
    variant = ""

    def __init__(self, images: NDArray[np.uint8], fingerprint: str) -> None:
        self.images = images
        self._fingerprint = fingerprint

    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return self._fingerprint

    def read(self, position: int, channels: int) -> Image:
        """See `Source.read`; colour stays what it is."""
        del channels
        return np.asarray(self.images[position])

    def each(
        self, positions: NDArray[np.int64], use: Use, *, channels: int, progress: Progress | None = None
    ) -> dict[int, str]:
        """See `Source.each`; colour stays what it is."""
        del channels
        for place, position in enumerate(positions.tolist()):
            use(place, self.images[position])
        if progress:
            progress(len(positions), len(positions))
        return {}


def decode_blob(blob: Blob, channels: int) -> Image:
    """Decode a file; the error is the bare reason."""
    data = blob()
    try:
        return decode(data, channels=channels)
    except DataError:
        if data.startswith(LFS_POINTER):
            raise DataError("is a pointer of Git LFS; git lfs pull fetches the file itself") from None
        raise DataError("cannot be decoded as an image" if data else "is empty") from None


def load_pixels(
    source: Source, positions: NDArray[np.int64], spec: InputSpec, progress: Progress | None = None
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Read images and bring them to a network's size and colour.

    Returns:
        uint8 (len(positions), size, size, channels), in which the rows of images that cannot be read hold anything, and
        these rows with the names and reasons.
    """
    batch = np.empty((len(positions), *spec.shape), np.uint8)

    def use(place: int, image: Image) -> None:
        batch[place] = fit_image(image, spec)

    return batch, source.each(positions, use, channels=spec.channels, progress=progress)


def in_threads(work: Callable[[list[T]], int], items: Iterable[T]) -> Iterator[int]:
    """Give items in chunks to as many threads as there are cores, a few chunks ahead; answers come in order."""
    threads = usable_cores()
    pending: deque[Future[int]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="mien-decode") as pool:
        for chunk in _chunks(items):
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
