"""What ``/metrics`` tells: counts and times, no names, no contents."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from mien import __version__

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The metrics of one app. Safe to share between threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        registry = self._registry
        Info("mien_build", "Which mien this is.", registry=registry).info({"version": __version__})
        names = ("route", "method", "status")
        self.requests = Counter("mien_requests", "Requests answered.", names, registry=registry)
        self.seconds = Histogram(
            "mien_request_seconds",
            "From the request's head to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.received = Counter("mien_received_bytes", "Bytes of bodies.", registry=registry)
        self.pictures = Counter("mien_pictures", "Pictures analysed.", registry=registry)
        self.failed = Counter("mien_pictures_failed", "Pictures that could not be analysed.", registry=registry)
        self.faces = Counter("mien_faces", "Faces found in pictures.", registry=registry)
        self.videos = Counter("mien_videos", "Videos that are over, by how they ended.", ("status",), registry=registry)
        self.frames = Counter("mien_video_frames", "Frames of videos analysed.", registry=registry)
        self.rejected = Counter("mien_rejected", "Requests refused, by problem.", ("problem",), registry=registry)
        self.batches = Histogram(
            "mien_batch_pictures", "Pictures worked on together.", buckets=BATCHES, registry=registry
        )
        self.batch_seconds = Histogram("mien_batch_seconds", "Work on a batch.", buckets=SECONDS, registry=registry)

    def watch(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a gauge that is asked when somebody looks."""
        Gauge(name, description, registry=self._registry).set_function(value)

    def batch(self, pictures: int, seconds: float) -> None:
        """Count a batch."""
        self.batches.observe(pictures)
        self.batch_seconds.observe(seconds)

    def video(self, status: str, frames: int) -> None:
        """Count a video that is over."""
        self.videos.labels(status).inc()
        self.frames.inc(frames)

    def refused(self, kind: str) -> None:
        """Count a problem."""
        self.rejected.labels(kind).inc()

    def answered(self, route: str, method: str, status: int, seconds: float, received: int) -> None:
        """Count a request."""
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        self.received.inc(received)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)
