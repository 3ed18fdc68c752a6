"""The same face keeps its number across the frames of a video, and what it shows is averaged over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from mien.associating import Motion, likeness, overlaps, pair
from mien.cuts import Glance, glance_at, is_cut
from mien.errors import UsageError
from mien.faces.detection import Detections, Detector
from mien.images import Image

SURE = 0.9
"""A new face scored so high is believed at once; others must be found by two detections in a row."""

LOST = 0.5
"""A followed face scored lower is no longer seen."""

FRAME_SECONDS = 1 / 30
"""How long a frame lasts where no time is given."""

DETECT_EVERY, DETECT_SECONDS = 6, 0.3
"""Where nothing else is asked for, the whole picture is searched in every so-many-th frame; where frames are further
apart, about so often: whoever comes into a video of a frame a second is seen at once."""

_SAME = 0.5
"""Two followed boxes that overlap so much lie on one face."""

_JUMPED = 0.3
"""A followed box that overlaps so little with where it was has jumped to something else."""

_UNCONFIRMED = 3
"""So many detections in a row may miss a face that can still be followed."""


def detect_every_at(fps: float) -> int:
    """In every how many-th frame of a video the whole picture is searched, where nothing else is asked for."""
    return min(DETECT_EVERY, max(1, round(DETECT_SECONDS * fps)))


@dataclass(eq=False)
class _Track:
    """One face: its motion, its last row, and what is known of it."""

    motion: Motion
    row: Detections
    number: int = 0
    seen: bool = True
    missed: int = 0


class FaceTracker:
    """Finds the faces of a video's frames and numbers them. One tracker serves one video, from one thread.

    Every `detect_every` frames the whole picture is searched; between, each face is followed from where it was. A face
    that cannot be followed is searched for at once. One that is gone keeps its number for `forget` seconds. Frames
    whose number is a multiple of `detect_every` are searched whatever was searched before them, so that pieces of a
    video that begin at such a frame are searched at the same frames as the whole (`mien.batch.segments`). Where the
    video cuts to another scene (`mien.cuts`), all faces are new: somebody else may be where a face was.

    A new face with a score below `SURE` is reported only once a second detection, made in the very next frame, has
    found it too; in the first frame of a scene every face is reported, so that a video of one frame loses none.
    """

    def __init__(self, detector: Detector, *, detect_every: int = DETECT_EVERY, forget: float = 1.0) -> None:
        """Make a tracker.

        Args:
            detector: finds and follows faces.
            detect_every: search the whole picture every so many frames, 1 or more.
            forget: how long a face may be out of sight and keep its number, in seconds, 0 or more.

        Raises:
            UsageError: an argument is out of range.
        """
        if detect_every < 1 or not forget >= 0:
            raise UsageError(
                f"detect_every: must be 1 or more, forget 0 or more; received {detect_every!r} and {forget!r}"
            )
        self._detector, self._every, self._forget = detector, detect_every, forget
        self._tracks: list[_Track] = []
        self._numbers = count(1)
        self._since: int | None = None
        self._count = 0
        self._time = -FRAME_SECONDS
        self._shape: tuple[int, int] | None = None
        self._glance: Glance | None = None

    @property
    def due(self) -> int:
        """How many frames can still be followed before the whole picture must be searched; 0: the next one must be."""
        return 0 if self._since is None else -self._count % self._every

    def next(
        self, image: Image, time: float | None = None, found: Detections | None = None
    ) -> tuple[Detections, NDArray[np.int64]]:
        """Find the faces of the next frame.

        Args:
            image: uint8 (height, width, 3) RGB or (height, width), upright. Where its size changes, time runs
                backwards, or it shows another scene, all faces count as new.
            time: seconds from the video's beginning; None: a thirtieth of a second after the frame before.
            found: what searching the whole picture gave, where that has been done already; see `due`.

        Returns:
            The faces, largest first, and their numbers, int64 (n,): from 1, in the order in which they came.
        """
        time = self._begin(image, time)
        search = found is not None or self._since is None or self._count % self._every == 0
        self._count += 1
        if search or self._follow(image, time):
            self._detect(image, time, found)
        self._tracks = [track for track in self._tracks if track.seen or time - track.motion.time <= self._forget]
        return self._report()

    def _begin(self, image: Image, time: float | None) -> float:
        """Settle the time, and forget all faces where this is no continuation."""
        moment = self._time + FRAME_SECONDS if time is None else float(time)
        shape, glance = (image.shape[0], image.shape[1]), glance_at(image)
        goes_on = shape == self._shape and moment >= self._time
        if not goes_on or self._glance is None or is_cut(self._glance, glance):
            self._tracks, self._since = [], None
        self._time, self._shape, self._glance = moment, shape, glance
        if self._since is not None:
            self._since += 1
        return moment

    def _follow(self, image: Image, time: float) -> bool:
        """Bring the faces in sight up to date; whether the picture must be searched, too."""
        recently = self._since is not None and self._since <= 1
        tracks = [track for track in self._tracks if track.seen]
        for track in tracks:
            track.seen = False
        self._continue(tracks, image, time)
        doubtful = any(track.seen and not track.number for track in tracks)
        return doubtful or (not recently and any(not track.seen for track in tracks))

    def _continue(self, tracks: list[_Track], image: Image, time: float) -> None:
        """Look for faces where they were; those that are found are seen."""
        if not tracks:
            return
        before = _joined([track.row for track in tracks])
        after = self._detector.follow(image, before)
        near = np.diag(overlaps(before.boxes_xyxy, after.boxes_xyxy)) > _JUMPED
        rows = np.flatnonzero((after.scores >= LOST) & near)
        taken = [track.row.boxes_xyxy[0] for track in self._tracks if track.seen]
        fits = np.diag(likeness([track.motion for track in tracks], after.boxes_xyxy, time, image))
        for row in sorted(rows.tolist(), key=lambda row: -fits[row]):
            box = after.boxes_xyxy[row]
            if not taken or overlaps(box[None], np.stack(taken)).max() < _SAME:
                taken.append(box)
                _see(tracks[row], after.take([row]), time, image)

    def _detect(self, image: Image, time: float, found: Detections | None) -> None:
        """Search the whole picture, and give each face found its number or a new one."""
        first = self._since is None
        found, self._since = self._detector.detect(image) if found is None else found, 0
        matched = self._matched(found, time, image)
        missed = [track for track in self._tracks if track not in matched.values()]
        for track in missed:
            track.missed += 1
        followed = [track for track in missed if track.seen and track.number and track.missed < _UNCONFIRMED]
        for track in missed:
            track.seen = False
        self._tracks = [track for track in self._tracks if track.number or track in matched.values()]
        for row in range(len(found)):
            if row in matched:
                matched[row].missed = 0
                _see(matched[row], found.take([row]), time, image)
                self._number(matched[row])
            else:
                self._add(found.take([row]), time, image, believed=first)
        self._continue(followed, image, time)

    def _matched(self, found: Detections, time: float, image: Image) -> dict[int, _Track]:
        """Whose each row is: those in sight come first, so that nobody takes the place of whoever hides them."""
        matched: dict[int, _Track] = {}
        for seen in (True, False):
            tracks = [track for track in self._tracks if track.seen is seen]
            rows = [row for row in range(len(found)) if row not in matched]
            fit = likeness([track.motion for track in tracks], found.boxes_xyxy[rows], time, image)
            matched |= {rows[column]: tracks[line] for line, column in pair(fit)}
        return matched

    def _add(self, row: Detections, time: float, image: Image, *, believed: bool) -> None:
        track = _Track(Motion.begin(row.boxes_xyxy[0], time, image), row)
        self._tracks.append(track)
        if believed or row.scores[0] >= SURE:
            self._number(track)

    def _number(self, track: _Track) -> None:
        track.number = track.number or next(self._numbers)

    def _report(self) -> tuple[Detections, NDArray[np.int64]]:
        tracks = [track for track in self._tracks if track.seen and track.number]
        if not tracks:
            return Detections.none(), np.empty(0, np.int64)
        faces = _joined([track.row for track in tracks])
        left, top, right, bottom = faces.boxes_xyxy.T
        order = np.lexsort((top, left, -(right - left) * (bottom - top)))
        return faces.take(order), np.array([track.number for track in tracks], np.int64)[order]


def _see(track: _Track, row: Detections, time: float, image: Image) -> None:
    track.motion.update(row.boxes_xyxy[0], time, image)
    track.row, track.seen = row, True


def _joined(rows: list[Detections]) -> Detections:
    return Detections(
        np.concatenate([row.boxes_xyxy for row in rows]),
        np.concatenate([row.scores for row in rows]),
        np.concatenate([row.keypoints for row in rows]),
    )


class Smoother:
    """Averages each track's probabilities over time: old values fade by 1/e in a given number of seconds.

    The average does not depend on the frame rate. What is not seen for long is forgotten, so memory stays small.
    """

    def __init__(self, seconds: float) -> None:
        """Make a smoother.

        Args:
            seconds: the time constant, 0 or more; 0 leaves everything as it is.

        Raises:
            UsageError: it is negative or not finite.
        """
        if not 0 <= seconds < np.inf:
            raise UsageError(f"seconds: must be 0 or more and finite, received {seconds!r}")
        self._seconds = seconds
        self._known: dict[int, tuple[float, NDArray[np.float64]]] = {}

    def smooth(
        self, track_ids: NDArray[np.int64], probabilities: NDArray[np.float32], time: float
    ) -> NDArray[np.float32]:
        """Average a frame's probabilities with those before.

        Args:
            track_ids: int64 (n,), each number at most once.
            probabilities: float32 (n, classes), each row summing to 1.
            time: seconds; where it runs backwards, a track begins anew.

        Returns:
            float32 (n, classes), each row summing to 1; a track's first row comes back unchanged.
        """
        if not self._seconds:
            return probabilities
        smooth = np.array(probabilities, np.float32)
        for row, number in enumerate(track_ids.tolist()):
            value = self._blend(number, probabilities[row], time)
            self._known[number] = (time, value)
            smooth[row] = value
        self._forget(time)
        return smooth

    def _blend(self, number: int, row: NDArray[np.float32], time: float) -> NDArray[np.float64]:
        value = row.astype(np.float64)
        then, before = self._known.get(number, (np.inf, value))
        if time < then:
            return value
        share = -np.expm1((then - time) / self._seconds)
        return np.asarray(before + (value - before) * share, np.float64)

    def _forget(self, time: float) -> None:
        """Drop what would count for less than a twenty-thousandth, and what lies in the future."""
        old = [number for number, (then, _) in self._known.items() if not 0 <= time - then <= 10 * self._seconds]
        for number in old:
            del self._known[number]
