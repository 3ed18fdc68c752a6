"""One video at a time, decoded in a thread of its own: frames in order, memory flat, gone when nobody looks."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

from mien.decoders import Decoder, LargeFrameError
from mien.decoding import BACK_SECONDS
from mien.errors import DataError, many
from mien.frames import Clip, Frame, reason
from mien.images import MAX_PIXELS

SLACK_SECONDS, SLACK_SHARE = 1.0, 0.01
"""How far before its announced end a video may end without being called cut, where nothing but its frames was watched:
sound may go on longer."""

HURRY = 1.25
"""A stream that came so many times as fast as it plays was no live one, but a file whose length nobody told."""

T = TypeVar("T")


class _HurriedError(DataError):
    """All of a stream that came faster than it plays has been decoded."""


class Ahead(Generic[T]):
    """Runs an iterator in a thread of its own, a few items ahead. One consumer; close it.

    What the iterator raises is raised to the consumer, after everything that came before.

    Attributes:
        dropped: how many items never reached the consumer.
    """

    def __init__(self, items: Iterator[T], limit: int, *, newest: bool = False) -> None:
        """Start the thread.

        Args:
            items: what to run; it is closed in that thread.
            limit: items that wait for the consumer at most.
            newest: where the consumer is slow, drop the oldest waiting item, not stop the iterator.
        """
        self._items, self._limit, self._newest = items, limit, newest
        self.dropped = 0
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mien-video", daemon=True)
        _running.add(self)
        _stop_all_at_exit()
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            self._error = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Hand an item over; False once the consumer has gone."""
        with self._changed:
            if self._newest and len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: self._stopped or len(self._waiting) < self._limit)
            if not self._stopped:
                self._waiting.append(item)
                self._changed.notify_all()
            return not self._stopped

    def close(self, patience: float = 2.0) -> None:
        """Stop the thread. One that waits for a silent stream ends when its time limit does."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(patience)


_running: weakref.WeakSet[Ahead[Any]] = weakref.WeakSet()


@cache
def _stop_all_at_exit() -> None:
    """Have threads end before Python does: one that decodes in OpenCV then would abort the process."""
    atexit.register(_stop_all)


def _stop_all() -> None:
    for ahead in list(_running):
        ahead.close()


def read_video(
    name: str,
    opening: Callable[[], Decoder],
    *,
    place: str = "",
    live: bool = False,
    ahead: int = 8,
    max_pixels: int = MAX_PIXELS,
    every: int = 1,
) -> Iterator[Frame]:
    """Decode a video or stream.

    Args:
        name: what frames and errors call it.
        opening: opens it; called in the thread that decodes.
        place: see `Frame.place`.
        live: frames come as they happen. Where the consumer is slow, old frames are dropped, so that what it sees is at
            most two frames old; `Frame.index` counts them too.
        ahead: frames that are decoded ahead.
        max_pixels: larger frames are refused.
        every: see `mien.frames.Reading`.

    Yields:
        Its frames, in order.

    Raises:
        DataError: after the frames there were: it cannot be opened, is cut off or damaged, or the stream dropped, or
            was a file of which frames were left out. The message does not name it, `items` does.
    """
    frames = Ahead(_decode(name, opening, place, live, max_pixels, every), 2 if live else ahead, newest=live)
    try:
        yield from frames
    except _HurriedError as error:
        if frames.dropped:
            raise DataError(f"{frames.dropped:,} {reason(error)}", [name]) from error
    except DataError as error:
        kind = LargeFrameError if isinstance(error, LargeFrameError) else DataError
        raise kind(reason(error), error.items or [name]) from error
    finally:
        frames.close()


def _decode(
    name: str, opening: Callable[[], Decoder], place: str, live: bool, max_pixels: int, every: int
) -> Iterator[Frame]:
    decoder = opening()
    decoder.max_pixels, decoder.every = max_pixels, every
    try:
        clip: Clip | None = None
        clock = _Clock(decoder.fps, live)
        for index, (stamp, image) in enumerate(decoder):
            seconds = clock.tell(stamp)
            if image is None or index % every:
                continue
            if clip is None:
                frames = None if live else share_of(decoder.frames, every)
                clip = Clip(name, decoder.fps / every, frames, (image.shape[1], image.shape[0]), live)
            yield Frame(name, index, seconds, image, clip, place)
        _check_end(decoder, clock, live)
    finally:
        decoder.close()


def share_of(frames: int | None, every: int) -> int | None:
    """How many of a video's frames are given where it is every so-many-th."""
    return None if frames is None else -(-frames // every)


class _Clock:
    """Turns timestamps into seconds since the first frame that never decrease; a live source's are those of arrival.

    Attributes:
        count: frames so far.
        last: the last one's seconds.
        plays: the same by the container's clock, whenever the frame arrived.
    """

    def __init__(self, fps: float, live: bool) -> None:
        self._fps, self._live = fps, live
        self._first: float | None = None
        self._first_stamp: float | None = None
        self._stamp: float | None = None
        self._moved = 0.0
        self.plays = 0.0
        self.count = 0
        self.last = 0.0

    @property
    def begin(self) -> float:
        """The first frame's time on the container's clock."""
        return self._first or 0.0

    def tell(self, stamp: float | None) -> float:
        if stamp is not None:
            stamp = self._follow(stamp)
            self._first_stamp = stamp if self._first_stamp is None else self._first_stamp
            self.plays = max(self.plays, stamp - self._first_stamp)
        now = time.monotonic() if self._live else stamp
        if now is None:
            now = self.last + 1 / self._fps if self.count else 0.0
            now += self.begin
        if self._first is None:
            self._first = now
        self.last = max(self.last, now - self._first)
        self.count += 1
        return self.last

    def _follow(self, stamp: float) -> float:
        """The timestamp, moved to follow what came before where the clock began anew."""
        if self._stamp is not None and stamp < self._stamp - BACK_SECONDS:
            self._moved += self._stamp + 1 / self._fps - stamp
        self._stamp = stamp
        return stamp + self._moved


def _check_end(decoder: Decoder, clock: _Clock, live: bool) -> None:
    """Say so where a video ended before its time, or where some of it could not be decoded."""
    if live and not decoder.finished:
        raise DataError(f"the stream ended after {many(clock.count, 'frame')}")
    if live and clock.plays > HURRY * clock.last:
        raise _HurriedError(
            f"of {many(clock.count, 'frame')} had to be left out, as it came faster than "
            "they were taken, and nothing says how "
            "long it is; download it first to have all of them"
        )
    if live:
        return
    if not clock.count:
        raise DataError("not one frame can be decoded")
    if _is_cut(decoder, clock):
        frames = f"{'' if decoder.exact else 'about '}{many(decoder.frames or 0, 'frame')}"
        raise DataError(f"ended after {clock.count:,} of {frames}; the file is cut off or damaged")
    if decoder.damaged:
        raise DataError(
            f"{decoder.damaged:,} of {many(decoder.frames or 0, 'frame')} cannot be decoded; the file is damaged"
        )


def _is_cut(decoder: Decoder, clock: _Clock) -> bool:
    """Whether a video ended before its time."""
    if decoder.frames is None or decoder.seconds is None or clock.count >= decoder.frames:
        return False
    frame = 1 / decoder.fps
    apart = max(frame, clock.last / max(1, clock.count - 1))  # an AVI's rate may be that of its clock
    watched = decoder.exact or decoder.end is not None
    slack = 2 * apart + (0 if watched else SLACK_SECONDS + SLACK_SHARE * decoder.seconds)
    end = clock.last + frame
    if not decoder.exact:  # a length that nobody counted may be that of the container's clock, from 0
        end = max(end + max(0.0, clock.begin), decoder.end or 0.0)
    return end < decoder.seconds - slack
