"""All videos of the service: taken within bounds, worked on one after the other, kept for a while, then forgotten."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from fastapi import Request

from mien.errors import MienError, many
from mien.frames import Clip
from mien.server.problems import not_found, not_running, problem_of, too_busy
from mien.server.registry import PictureAnalyzer
from mien.server.settings import ServerSettings
from mien.server.video_job import VIDEO, VideoJob, Wish
from mien.server.video_reading import Limits, probe
from mien.server.video_store import VideoStore
from mien.server.video_uploads import NO_SPACE, no_room, receive_video
from mien.server.video_work import Room, work

KEPT = 64
"""Jobs that are over and kept; beyond, those that ended first go before their time."""

RESULT_TIMES = 8
"""What comes of a video may have so many times the bytes that a video may have."""

RETRY_SECONDS = 15
PATIENCE = 5.0
"""Seconds that workers get to end when the service does."""

PROBES = 2
"""Videos that are looked at, at once, before they are taken."""


class VideoJobs:
    """The videos of one service. `start` it, `close` it; safe to share between threads.

    Attributes:
        analyzers: a `mien.server.Analyzers`, or whatever has its `names`, `default` and `get`.
        settings: the service's.
    """

    def __init__(
        self,
        analyzers: Any,
        settings: ServerSettings,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[VideoJob], object] = lambda _: None,
    ) -> None:
        """Nothing is begun yet.

        Args:
            analyzers: where analyzers come from.
            settings: limits and times.
            folder: for uploads and results; several services may share it.
            clock: seconds, for how long ago a job ended.
            observe: told each job that is over.
        """
        self.analyzers, self.settings = analyzers, settings
        self._clock, self._observe = clock, observe
        self._limits = Limits.of(settings)
        self._store = VideoStore(folder)
        self._room = Room(RESULT_TIMES * settings.max_video_bytes, lambda: self._store.free)
        self._jobs: dict[str, VideoJob] = {}
        self._active: dict[VideoJob, Future[None]] = {}
        self._uploading = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._closing.set()
        self._workers: ThreadPoolExecutor | None = None
        self._probes: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Remove what a crash left, and take the folder; `start` does so where nobody has.

        Raises:
            UsageError: the folder cannot be used.
        """
        self._store.open()

    def start(self) -> None:
        """`open`, and begin to take videos.

        Raises:
            UsageError: the folder cannot be used.
        """
        self.open()
        self._workers = ThreadPoolExecutor(self.settings.max_videos, "mien-video-work")
        self._probes = ThreadPoolExecutor(PROBES, "mien-video-probe")
        self._closing = threading.Event()
        threading.Thread(target=self._expire_until, args=[self._closing], name="mien-video-expiry", daemon=True).start()

    def stop(self) -> None:
        """The service is about to end: take no further video and cancel all, so that those who read rows are done."""
        self._closing.set()
        with self._lock:
            active = list(self._active)
        for job in active:
            job.stop()

    def close(self) -> None:
        """`stop`, and remove all files."""
        self.stop()
        with self._lock:
            active, self._jobs = dict(self._active), {}
        for pool in (self._workers, self._probes):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in active.values() if not future.cancelled()], PATIENCE)
        for job, future in active.items():
            job.forgotten = True
            if future.done():
                job.end(self._clock())
        self._store.close()

    @property
    def waiting(self) -> int:
        """Videos that are being uploaded or wait."""
        with self._lock:
            return self._uploading + sum(job.status == "queued" for job in self._active)

    @property
    def running(self) -> int:
        """Videos that are worked on."""
        with self._lock:
            return sum(job.status == "running" for job in self._active)

    async def take(self, request: Request, wish: Wish) -> VideoJob:
        """Receive a video, look at it, let it wait for its turn.

        Raises:
            Problem: it is no video, or beyond the limits; 503: too many wait.
        """
        with self._place():
            analyzer = await asyncio.to_thread(self._analyzer, wish)
            length = request.headers.get("content-length", "")
            self._room.check(int(length) if length.isdecimal() and len(length) < 20 else 0)
            with self._new_folder() as folder:
                source = await receive_video(request, folder / VIDEO, self.settings.max_video_bytes)
                clip = await self._probe(folder / VIDEO)
                return self._submit(VideoJob(source, wish, analyzer, folder, clip.frames))

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places that there are for videos which are uploaded, wait or are worked on."""
        most = self.settings.max_videos + self.settings.video_queue
        with self._lock:
            if self._closing.is_set():
                raise not_running()
            if self._uploading + len(self._active) >= most:
                raise too_busy(
                    f"no room: {many(most, 'video')} uploaded, waiting or worked on; try again later", RETRY_SECONDS
                )
            self._uploading += 1
        try:
            yield
        finally:
            with self._lock:
                self._uploading -= 1

    def _analyzer(self, wish: Wish) -> PictureAnalyzer:
        try:
            found: PictureAnalyzer = self.analyzers.get(wish.options)
        except MienError as error:
            raise problem_of(error) from error
        return found

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """A job's folder, which is removed where the body fails."""
        try:
            folder = self._store.make()
            try:
                yield folder
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        except OSError as error:
            raise (no_room() if error.errno in NO_SPACE else error) from error

    async def _probe(self, path: Path) -> Clip:
        return await asyncio.get_running_loop().run_in_executor(self._probes, probe, path, self._limits)

    def _submit(self, job: VideoJob) -> VideoJob:
        with self._lock:
            if self._closing.is_set() or self._workers is None:
                job.end(self._clock())
                raise not_running()
            self._jobs[job.id] = job
            self._active[job] = self._workers.submit(copy_context().run, self._work, job)
        return job

    def _work(self, job: VideoJob) -> None:
        try:
            work(job, self._limits, self.settings.video_timeout, self._room, self._clock)
        finally:
            with self._lock:
                self._active.pop(job, None)
            self._observe(job)

    def get(self, job_id: str) -> VideoJob:
        """The job of this id.

        Raises:
            Problem: 404: there is none, or none any more.
        """
        self.expire()
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            minutes = self.settings.video_keep / 60
            raise not_found(
                f"there is no such video; videos are forgotten {many(minutes, 'minute')} after their end, and when the "
                "service ends"
            )
        return job

    def delete(self, job_id: str) -> VideoJob:
        """Cancel a job where it is not over, forget it, remove its files.

        Raises:
            Problem: 404.
        """
        job = self.get(job_id)
        with self._lock:
            self._jobs.pop(job_id, None)
            future = self._active.get(job)
        job.stop()
        job.remove()
        if future is not None and future.cancel():
            job.end(self._clock())
            with self._lock:
                self._active.pop(job, None)
            self._observe(job)
        return job

    def expire(self) -> None:
        """Forget jobs that ended long ago, and those beyond `KEPT`."""
        now = self._clock()
        with self._lock:
            over = sorted((job for job in self._jobs.values() if job.over), key=lambda job: job.ended)
            late = [job for job in over if now - job.ended >= self.settings.video_keep]
            gone = {*late, *over[: max(0, len(over) - KEPT)]}
            for job in gone:
                del self._jobs[job.id]
        for job in gone:
            job.remove()

    def _expire_until(self, closing: threading.Event) -> None:
        while not closing.wait(min(5.0, self.settings.video_keep / 4)):
            self.expire()
