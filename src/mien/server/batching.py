"""Pictures of all requests in one bounded queue; threads take what waits and work on it together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mien.images import Image
from mien.server.options import Options
from mien.server.registry import PictureAnalyzer

BATCH_PIXELS = 4_000_000
"""A batch ends with the picture that brings it to so many pixels, so that nobody waits long for others' large ones."""

GetAnalyzer = Callable[[Options], PictureAnalyzer]
Observer = Callable[[int, float], None]
"""Told of each batch: how many pictures, how many seconds."""

log = logging.getLogger("mien.server")


@dataclass(eq=False, slots=True)
class Job:
    """A picture that waits: uint8 (height, width, 3) RGB, and who wants to know what it shows."""

    image: Image
    options: Options
    answer: Future[dict[str, Any]] = field(default_factory=Future)

    @property
    def pixels(self) -> int:
        """Height times width."""
        return int(self.image.shape[0] * self.image.shape[1])


class Batcher:
    """Worker threads and their queue. The queue's bound is kept by whoever calls `submit`: see `mien.server.limits`.

    While one thread works alone and nothing else waits, its analyzer may use all cores; as soon as there is more, each
    batch gets one core, which is faster for all: batches overlap instead of waiting for each other's single-threaded
    parts.
    """

    def __init__(
        self, alone: GetAnalyzer, beside: GetAnalyzer, *, workers: int, most: int, wait: float, observe: Observer
    ) -> None:
        """Not started yet.

        Args:
            alone: gives the analyzer for options that uses all cores.
            beside: gives the one that uses a single core.
            workers: threads.
            most: pictures of a batch.
            wait: seconds that a picture waits for announced ones, at most.
            observe: told of each batch.
        """
        self._alone, self._beside = alone, beside
        self._workers, self._most, self._wait, self._observe = workers, most, wait, observe
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._announced = 0
        self._busy = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads. They are daemons: a picture in work does not keep the process from ending."""
        self._closed = False
        names = [f"mien-work-{number}" for number in range(self._workers)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Drop what waits; let what is in work finish, for so long at most."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.answer.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    @property
    def waiting(self) -> int:
        """Pictures that wait."""
        return len(self._waiting)

    def announce(self, count: int) -> None:
        """So many pictures more (or fewer, where negative) are being decoded and will come."""
        with self._changed:
            self._announced += count
            self._changed.notify_all()

    def submit(self, image: Image, options: Options) -> Future[dict[str, Any]]:
        """Put a picture in the queue.

        Returns:
            What will hold `mien.Analysis.to_dict`, or what the analyzer raised for this picture. Cancel it, and the
            picture is dropped if it is not in work yet.
        """
        job = Job(image, options)
        with self._changed:
            if self._closed:
                job.answer.cancel()
            else:
                self._waiting.append(job)
                self._changed.notify()
        return job.answer

    def drop_cancelled(self) -> None:
        """Let go of pictures whose answers nobody waits for any more."""
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.answer.cancelled())

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            jobs, alone = taken
            start = time.perf_counter()
            try:
                self._run(jobs, alone)
            finally:
                with self._changed:
                    self._busy -= 1
            self._observe(len(jobs), time.perf_counter() - start)
            del jobs, taken  # their pictures are not kept while the thread waits

    def _take(self) -> tuple[list[Job], bool] | None:
        """The next batch, and whether nothing else is to be done; None when the batcher is closed."""
        with self._changed:
            while True:
                if self._closed:
                    return None
                if self._waiting and self._enough():
                    jobs = self._next_batch()
                    if jobs:
                        break
                else:
                    self._changed.wait()
            alone = self._busy == 0 and not self._waiting
            self._busy += 1
            if self._waiting:
                self._changed.notify()
        return jobs, alone

    def _enough(self) -> bool:
        """Wait shortly for announced pictures, unless others are being worked on, which gave time enough."""
        end = time.monotonic() + self._wait
        while self._announced > 0 and not self._busy and 0 < len(self._waiting) < self._most and not self._closed:
            left = end - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                break
        return bool(self._waiting)

    def _next_batch(self) -> list[Job]:
        """The first that waits and those with equal options: an even share for each idle thread."""
        idle = max(1, self._workers - self._busy)
        most = min(self._most, -(-len(self._waiting) // idle))
        jobs: list[Job] = []
        others: list[Job] = []
        pixels = 0
        while self._waiting and len(jobs) < most and pixels < BATCH_PIXELS:
            job = self._waiting.popleft()
            if jobs and job.options != jobs[0].options:
                others.append(job)
            elif job.answer.set_running_or_notify_cancel():
                jobs.append(job)
                pixels += job.pixels
        self._waiting.extendleft(reversed(others))
        return jobs

    def _run(self, jobs: Sequence[Job], alone: bool) -> None:
        """Answer all. Where a batch fails, each picture is tried by itself, so that only the bad one fails."""
        get = self._alone if alone else self._beside
        try:
            analyzer = get(jobs[0].options)
            answers = [found.to_dict() for found in analyzer.analyze_batch([job.image for job in jobs])]
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
                return
            log.warning("batch", extra={"pictures": len(jobs), "error": type(error).__name__})
            for job in jobs:
                self._run([job], alone)
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.answer.set_result(answer)
