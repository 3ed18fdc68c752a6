"""Long videos, spread by segment, with the tracks of one that was read in order.

A tracker goes from frame to frame, so a video cannot simply be cut. What costs time, though, are questions whose answer
depends on a frame and a box alone: where are faces in this frame, where has this face gone, what does it show. Each
segment is tracked by a worker of its own, which writes down the answers. Then one worker goes through the whole video
in order, with the same tracker as ever, and takes the answers from there; what nobody has asked before (a face that was
known from before the segment) it finds out itself. So the result is that of one pass, whatever was written down.

Questions are known by hashes of the pixels they are about.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import Analyzer
from mien.errors import DataError
from mien.faces import Detections, Detector
from mien.frames import Frame
from mien.images import Image

ROWS = 4
"""Every so many rows of a frame are hashed: no face is so small that it lies between."""

KEY_BYTES = 16

Key = bytes


@dataclass
class Answers:
    """What was found out about a piece of a video.

    Attributes:
        found: frame to the faces in it.
        followed: frame and face to where the face has gone.
        shown: cut-out face to its probabilities, float32 (classes,).
    """

    found: dict[Key, Detections] = field(default_factory=dict)
    followed: dict[Key, Detections] = field(default_factory=dict)
    shown: dict[Key, NDArray[np.float32]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """An ``.npz`` file of plain arrays."""
        stream = io.BytesIO()
        counts = np.array([len(faces) for faces in self.found.values()], np.int64)
        np.savez(
            stream,
            allow_pickle=False,
            found_keys=_keys(self.found),
            found_counts=counts,
            **_columns("found", self.found.values()),
            followed_keys=_keys(self.followed),
            **_columns("followed", self.followed.values()),
            shown_keys=_keys(self.shown),
            shown=np.stack(list(self.shown.values())) if self.shown else np.empty((0, 0), np.float32),
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Answers:
        """Read what `to_bytes` gave.

        Raises:
            DataError: it is damaged.
        """
        import zipfile

        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                held = dict(file.items())
            found = _rows("found", held, held["found_counts"])
            followed = _rows("followed", held, np.ones(len(held["followed_keys"]), np.int64))
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"answers of a segment are damaged ({error})") from error
        keys = {name: [row.tobytes() for row in held[f"{name}_keys"]] for name in ("found", "followed", "shown")}
        return cls(
            dict(zip(keys["found"], found, strict=True)),
            dict(zip(keys["followed"], followed, strict=True)),
            dict(zip(keys["shown"], held["shown"], strict=True)),
        )


def _keys(answers: dict[Key, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(answers), np.uint8).reshape(-1, KEY_BYTES)


def _columns(name: str, faces: Iterable[Detections]) -> dict[str, NDArray[np.float32]]:
    """The faces below each other, by column."""
    every = list(faces)
    filled = [one for one in every if len(one)] or [Detections.none()]
    return {
        f"{name}_boxes": np.concatenate([one.boxes_xyxy for one in filled]),
        f"{name}_scores": np.concatenate([one.scores for one in filled]),
        f"{name}_keypoints": np.concatenate([one.keypoints for one in filled]),
    }


def _rows(name: str, held: dict[str, NDArray[Any]], counts: NDArray[np.int64]) -> list[Detections]:
    """Cut columns into as many faces as each had."""
    ends = np.cumsum(counts)
    boxes, scores, points = (held[f"{name}_{column}"] for column in ("boxes", "scores", "keypoints"))
    spans = [slice(end - count, end) for end, count in zip(ends.tolist(), counts.tolist(), strict=True)]
    return [Detections(boxes[span], scores[span], points[span]) for span in spans]


def key_of(*parts: Any) -> Key:
    """A hash of arrays and bytes."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else part)
    return digest.digest()


def frame_key(image: Image) -> Key:
    """A hash of a frame, by every `ROWS`-th of its rows."""
    return key_of(str(image.shape).encode(), image[::ROWS])


def _face_key(frame: Key, faces: Detections, row: int) -> Key:
    return key_of(frame, faces.boxes_xyxy[row], faces.scores[row : row + 1], faces.keypoints[row])


class Asked:
    """A detector and a model whose answers are written down, or taken from what was; see `with_answers`."""

    def __init__(self, detector: Detector, model: Any, known: Sequence[Answers] = ()) -> None:
        self._detector, self._model = detector, model
        self.known: deque[Answers] = deque(known)
        self.new = Answers()
        self.asked = self.missed = 0

    @property
    def name(self) -> str:
        """The detector's."""
        return self._detector.name

    @property
    def spec(self) -> Any:
        """The model's."""
        return self._model.spec

    def _get(self, table: str, key: Key) -> Any:
        self.asked += 1
        for answers in self.known:
            answer = getattr(answers, table).get(key)
            if answer is not None:
                return answer
        self.missed += 1
        return None

    def detect(self, image: Image) -> Detections:
        """See `Detector.detect`."""
        key = frame_key(image)
        known: Detections | None = self._get("found", key)
        faces = self._detector.detect(image) if known is None else known
        self.new.found[key] = faces
        return faces

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """See `Detector.detect_batch`."""
        return [self.detect(image) for image in images]

    def follow(self, image: Image, before: Detections) -> Detections:
        """See `Detector.follow`."""
        frame = frame_key(image)
        keys = [_face_key(frame, before, row) for row in range(len(before))]
        rows: list[Detections | None] = [self._get("followed", key) for key in keys]
        missing = [row for row, known in enumerate(rows) if known is None]
        if missing:
            after = self._detector.follow(image, before.take(missing))
            for place, row in enumerate(missing):
                rows[row] = after.take([place])
        followed = [row for row in rows if row is not None]
        self.new.followed.update(zip(keys, followed, strict=True))
        return Detections(
            np.concatenate([row.boxes_xyxy for row in followed]),
            np.concatenate([row.scores for row in followed]),
            np.concatenate([row.keypoints for row in followed]),
        )

    def predict(self, images: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
        """See `mien.Model.predict`."""
        keys = [key_of(image) for image in images]
        rows: list[NDArray[np.float32] | None] = [self._get("shown", key) for key in keys]
        missing = [row for row, known in enumerate(rows) if known is None]
        answers = self._model.predict(images[missing], batch_size)
        for place, row in enumerate(missing):
            rows[row] = answers[place]
        shown = [row for row in rows if row is not None]
        self.new.shown.update(zip(keys, shown, strict=True))
        return np.stack(shown) if shown else answers


def with_answers(analyzer: Analyzer, known: Sequence[Answers] = ()) -> tuple[Analyzer, Asked]:
    """An analyzer that takes answers from what is known and writes down what it finds out, and who does that for it."""
    asked = Asked(analyzer.finder, analyzer.model, known)
    twin = copy.copy(analyzer)
    twin.finder, twin.model = asked, asked
    return twin, asked


def coming_up(frames: Iterable[Frame], asked: Asked, segments: Iterator[tuple[int, Answers]]) -> Iterator[Frame]:
    """The frames of a whole video; before each, the answers of its segment are at hand, and of the one before.

    Args:
        frames: in order.
        asked: gets the answers, and need not keep new ones.
        segments: (number of its first frame, its answers), in order.
    """
    following = next(segments, None)
    for frame in frames:
        while following is not None and frame.index >= following[0]:
            asked.known.appendleft(following[1])
            following = next(segments, None)
            if len(asked.known) > 2:
                asked.known.pop()
        asked.new = Answers()
        yield frame
