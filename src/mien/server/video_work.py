"""The work on one video: decode, analyse, write rows, draw. The same analyzer as the command line's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

from mien.drawing import draw_faces
from mien.errors import MienError, many
from mien.outputs import Annotated
from mien.server.envelope import internal_error
from mien.server.problems import Problem, problem_of, too_large
from mien.server.video_job import DRAWN, VideoJob
from mien.server.video_reading import PLACE, Decoding, Limits, VideoError
from mien.server.video_store import PRIVATE_FILE, PRIVATE_FOLDER, size_of
from mien.server.video_uploads import NO_SPACE, no_room

RESERVE = 256 * 2**20
"""Bytes of the disk that are left to others."""

ROOM_SECONDS = 1.0
"""The disk is looked at so often."""

log = logging.getLogger("mien.server")


class Room:
    """What may be written.

    Attributes:
        most: bytes for one job.
        free: gives how many bytes the disk has.
    """

    def __init__(self, most: int, free: Callable[[], int]) -> None:
        self.most, self.free = most, free

    def check(self, wanted: int = 0) -> None:
        """Whether so many bytes more leave `RESERVE` free.

        Raises:
            Problem: no.
        """
        if self.free() < RESERVE + wanted:
            raise no_room()

    def check_job(self, job: VideoJob) -> None:
        """`check`, and whether what a job has written is not too much.

        Raises:
            Problem: it is.
        """
        self.check()
        if size_of(job.folder) > self.most:
            raise too_large(f"what comes of the video has more than the {many(self.most, 'byte')} allowed")


def work(job: VideoJob, limits: Limits, seconds: float, room: Room, now: Callable[[], float]) -> None:
    """Do a job, whatever happens: it is over afterwards.

    Args:
        job: what to do.
        limits: of its video.
        seconds: it is given up after so long.
        room: of the disk.
        now: the clock that says when it ended.
    """
    error: Problem | None = None
    try:
        job.begin()
        _analyse(job, limits, seconds, room)
    except Exception as found:
        if not job.stopping:
            error = _problem(found)
    if not job.forgotten:
        _offer_drawn(job)
    job.end(now(), error)
    said = {"status": job.status, "frames": job.frames_done, "faces": job.rows.count}
    said |= {"seconds": round(job.seconds, 3), "problem": job.error.kind if job.error is not None else None}
    log.info("video", extra=said)
    if job.forgotten:
        job.remove()


def _analyse(job: VideoJob, limits: Limits, seconds: float, room: Room) -> None:
    with ExitStack() as stack:
        decoding = stack.enter_context(Decoding(job.video, limits))
        stack.enter_context(job.stopped_by(decoding.stop))
        stack.enter_context(_given_up_after(seconds, job))
        draw = _drawing(job, stack)
        frames = job.wanted(decoding.frames(job.source))
        results: Any = job.analyzer.analyze_frames(frames, smooth=job.wish.smooth, detect_every=job.wish.detect_every)
        stack.enter_context(closing(results))
        looked = time.monotonic()
        for frame, analysis in results:
            job.check()
            job.add(analysis)
            if draw is not None:
                draw(frame, analysis)
            if time.monotonic() > looked + ROOM_SECONDS:
                looked = time.monotonic()
                room.check_job(job)


def _drawing(job: VideoJob, stack: ExitStack) -> Callable[[Any, Any], None] | None:
    """What is called with each frame and its result, where the video is to be drawn on."""
    if not job.wish.annotate:
        return None
    folder = job.folder / DRAWN
    folder.mkdir(PRIVATE_FOLDER)
    drawn = stack.enter_context(Annotated(folder))
    return lambda frame, analysis: drawn.write(frame, draw_faces(frame.image, analysis.faces))


def _offer_drawn(job: VideoJob) -> None:
    """The annotated video, once it is whole; it may be that of a video whose end is damaged."""
    path = job.folder / DRAWN / PLACE
    with suppress(FileNotFoundError):
        path.chmod(PRIVATE_FILE)
        job.annotated = path


@contextmanager
def _given_up_after(seconds: float, job: VideoJob) -> Iterator[None]:
    detail = f"the work took longer than the {many(seconds, 'second')} allowed; send a shorter or smaller video"
    timer = threading.Timer(seconds, job.stop, [Problem(504, "timeout", "It took too long", detail)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _problem(error: Exception) -> Problem:
    """What a client gets to read; what else there is to say stands in the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, VideoError):
        return error.problem
    if any(getattr(one, "errno", None) in NO_SPACE for one in _causes(error)):
        return no_room()
    if isinstance(error, MemoryError):
        return too_large("the video does not fit into memory")
    if isinstance(error, MienError):
        log.warning("video", exc_info=error)
        return problem_of(error)
    log.error("video", exc_info=error)
    return internal_error()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
