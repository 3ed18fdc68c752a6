"""From pixels to expressions: find faces, cut them out, say what they show. One path for pictures and video."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.analysis import Analysis
from mien.classifier import Model, open_model
from mien.errors import DataError, UsageError
from mien.faces import Detections, Detector, FindsFaces, open_detector
from mien.faces.boxes import rows_inside
from mien.faces.given import given_faces
from mien.faces.own import OwnDetector, follows_faces, own_detector
from mien.frames import grouped
from mien.framing import cut_faces
from mien.handed import read_all, read_handed
from mien.images import MAX_PIXELS, Image, ImageLike, check_several
from mien.numeric import flag, is_real, is_whole
from mien.preprocessing import fit_images
from mien.results import Box, check_min_confidence
from mien.seen import Seen, build_faces
from mien.sources import Clip, Frame, Reading, open_sources
from mien.tracking import FaceTracker, Smoother, detect_every_at
from mien.views import check_tta, predict_views
from mien.weights import find_model


class Analyzer:
    """Finds the faces of a picture and says what they show. Safe to share between threads.

    Attributes:
        model: the classifier.
        finder: what finds faces: the detector, and round one of the user's own what checks its answers and adds what it
            lacks.
        margin: how far boxes are widened before faces are cut out.
        tta: which views of each face are classified.
        min_confidence: below it a face's expression is uncertain.
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        detector: str | FindsFaces = "mtcnn",
        margin: float | None = None,
        align: bool = False,
        tta: str = "none",
        min_confidence: float = 0.0,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        batch_size: int | None = None,
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        """Open the model and the detector.

        Args:
            model: a model file, an opened model, or the name of a bundled one; None for the bundled default.
            detector: ``mtcnn``, ``none`` (each picture is a face, cut out already) or a `mien.faces.Detector`, of which
                `detect` is enough: then every frame of a video is searched.
            margin: how far a face's box is widened on each side, as a fraction of its larger side; None for what the
                model says.
            align: turn faces so that their eyes are level before they are classified.
            tta: the views of each face whose probabilities are averaged, a key of `mien.views.TTA`; ``flip`` takes
                twice the time to classify, ``full`` ten times.
            min_confidence: faces of which no expression is at least so probable, 0 to 1, are `mien.results.UNCERTAIN`;
                their probabilities stay.
            strict: raise where a picture has no face, instead of giving an empty result.
            max_pixels: pictures with more are refused before they are decoded.
            batch_size: how many faces go through the network at once; None for as many as suit it.
            device: where an ``.onnx`` runs; see `mien.open_model`.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            UsageError: a file, name or number is wrong.
            ModelError: the model cannot be used.
        """
        _check_options(max_pixels, batch_size, threads)
        check_tta(tta)
        check_min_confidence(min_confidence)
        if margin is not None and not (is_real(margin) and -0.4 <= margin <= 1):
            raise UsageError(f"margin: must be from -0.4 to 1, received {margin!r}")
        self.model = _open(model, device, threads)
        self.finder = _open_detector(detector, threads)
        self.margin = 0.0 if self.whole else self.model.spec.crop_margin if margin is None else margin
        self.align = flag("align", align)
        self.tta = tta
        self.min_confidence = min_confidence
        self.strict = flag("strict", strict)
        self.max_pixels = max_pixels
        self.batch_size = batch_size

    @property
    def detector(self) -> FindsFaces:
        """What finds faces, as it was handed over; another may be put in its place."""
        return self.finder.own if isinstance(self.finder, OwnDetector) else self.finder

    @detector.setter
    def detector(self, detector: FindsFaces) -> None:
        self.finder = own_detector(detector)

    def __repr__(self) -> str:
        return f"<Analyzer: {self.model!r}, detector {self.finder.name}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the expressions, in the model's order."""
        return self.model.spec.classes

    @property
    def whole(self) -> bool:
        """Whether each picture is taken for a face, cut out already: the detector is ``none``."""
        return self.finder.name == "none"

    def analyze(
        self, image: ImageLike, *, bgr: bool = False, boxes_xyxy: ArrayLike | Sequence[Box] | None = None
    ) -> Analysis:
        """Find the faces of one picture and say what they show.

        Args:
            image: an array, uint8 or uint16 (white is 65,535), (height, width), (height, width, 1), (height, width, 3)
                RGB or (height, width, 4) RGBA; a Pillow image; the bytes or the path of an image file, or the file
                opened for reading; the text ``data:image/...;base64,...``.
            bgr: whether the array's colours are in OpenCV's order.
            boxes_xyxy: where its faces are, where that is known: numbers (n, 4), pixels, left, upper, right, lower
                edge; or a `Box` for each. The detector is then not asked, faces come in this order, with score 1, and
                are not turned. `margin` and models expect boxes from the forehead to the chin, as MTCNN's are.

        Returns:
            Its faces, largest first; empty where there is none.

        Raises:
            UsageError: it is not a picture, or there is no such box in it.
            DataError: it cannot be read or decoded; or it has no face and the analyzer is strict.
        """
        if boxes_xyxy is None:
            return self.analyze_batch([image], bgr=bgr)[0]
        if self.whole:
            raise UsageError("boxes_xyxy: the detector 'none' takes each picture for one face; leave one of them out")
        frame = self._read(image, bgr)
        (analysis,) = self._classify([Seen(frame, given_faces(boxes_xyxy, frame.image))])
        self._refuse_empty(analysis)
        return analysis

    def look(self, image: ImageLike, *, bgr: bool = False) -> tuple[Analysis, Detections]:
        """`analyze`, and what the detector found: a row for each face, its box not cut to the picture."""
        (seen,) = self._detect([self._read(image, bgr)])
        (analysis,) = self._classify([seen])
        self._refuse_empty(analysis)
        return analysis, seen.faces

    def cut(self, image: Image, faces: Detections) -> NDArray[np.uint8]:
        """Faces of a picture as the model takes them; where each picture is a face, the whole of it, as in training.

        Args:
            image: uint8 (height, width) or (height, width, 3) RGB.
            faces: what the detector found in it.

        Returns:
            uint8 (n, size, size, channels).
        """
        spec = self.model.spec.input
        if self.whole:
            return fit_images([image] * len(faces), spec)
        return cut_faces(image, faces, spec, margin=self.margin, align=self.align)

    def analyze_batch(self, images: Sequence[ImageLike] | NDArray[Any], *, bgr: bool = False) -> list[Analysis]:
        """`analyze` for each picture, sharing work between them. Results hold the pictures: for very many, `stream`.

        Raises:
            UsageError, DataError: see `analyze`; the first picture that cannot be used ends it.
        """
        check_several(images, "for one, call analyze")
        with ThreadPoolExecutor(thread_name_prefix="mien-read") as pool:
            frames = read_all(list(images), lambda image: self._read(image, bgr), pool)
            found = [analysis for group in grouped(frames) for analysis in self._classify(self._detect(group))]
        for analysis in found:
            self._refuse_empty(analysis)
        return found

    def stream(
        self,
        *sources: str | Path | int,
        smooth: float = 0.5,
        detect_every: int | None = None,
        reading: Reading | None = None,
        on_failure: Callable[[str, str], None] | None = None,
    ) -> Iterator[Analysis]:
        """Analyse every picture and every frame of any number of sources, in order, in flat memory.

        Args:
            *sources: image, video, folder, glob pattern, ``.txt`` list, ``.zip``, address, webcam index; each file
                once, however often it is named; see `mien.sources.open_sources`.
            smooth: time constant in seconds of the average over a track's probabilities; 0 for none. Videos only.
            detect_every: faces are looked for in the whole of every n-th frame and followed between; None: of every
                sixth, or of more where they are far apart in time (`mien.tracking.detect_every_at`). Videos only.
            reading: limits and ways of reading.
            on_failure: called with the name of a source that cannot be read and the reason; None raises.

        Yields:
            One result for each picture or frame. In videos each face has a `track_id`.

        Raises:
            UsageError: nothing was found, or an argument is out of range.
            DataError: a source cannot be read and `on_failure` is None; or no face and the analyzer is strict.
        """
        reading = Reading(max_pixels=self.max_pixels) if reading is None else reading
        with open_sources(sources, reading=reading, on_failure=on_failure) as opened:
            for _, analysis in self.analyze_frames(opened, smooth=smooth, detect_every=detect_every):
                yield analysis

    def analyze_frames(
        self, frames: Iterable[Frame], *, smooth: float = 0.5, detect_every: int | None = None
    ) -> Iterator[tuple[Frame, Analysis]]:
        """`stream` for frames that are read already, each given back beside its result; see there.

        `mien.own_frames.frames_of` makes frames of arrays, such as those of a capture of one's own.
        """
        if not (is_real(smooth) and 0 <= smooth < math.inf):
            raise UsageError(f"smooth: must be 0 seconds or more, received {smooth!r}")
        if detect_every is not None and not (is_whole(detect_every) and detect_every >= 1):
            raise UsageError(f"detect_every: must be 1 or more, a whole number, received {detect_every!r}")
        follows = follows_faces(self.finder)
        if not follows and detect_every not in (None, 1):
            raise UsageError(f"detect_every: the detector {self.finder.name!r} has no follow; leave it out")
        clip: Clip | None = None
        smoother: Smoother | None = None
        with ThreadPoolExecutor(1, "mien-search") as searcher:
            for group in grouped(map(_as_frame, frames)):
                if group[0].clip is None:
                    seen = self._detect(group)
                else:
                    if group[0].clip is not clip or smoother is None:
                        clip = group[0].clip
                        every = detect_every or (detect_every_at(clip.fps) if follows else 1)
                        tracker, smoother = FaceTracker(self.finder, detect_every=every), Smoother(smooth)
                    seen = self._track(tracker, group, searcher)
                for frame, analysis in zip(group, self._classify(seen, smoother), strict=True):
                    self._refuse_empty(analysis)
                    yield frame, analysis

    def _track(self, tracker: FaceTracker, group: Sequence[Frame], searcher: ThreadPoolExecutor) -> list[Seen]:
        """Find the faces of a video's next frames. While faces are followed, the next frame to search is searched."""
        seen = []
        ahead: dict[int, Future[Detections]] = {}
        for row, frame in enumerate(group):
            due = row + tracker.due
            if row < due < len(group) and due not in ahead:
                ahead[due] = searcher.submit(self.finder.detect, group[due].image)
            searched = ahead.pop(row).result() if row in ahead else None
            faces, track_ids = tracker.next(frame.image, frame.time, searched)
            inside = rows_inside(faces.boxes_xyxy, frame.image)
            seen.append(Seen(frame, faces.take(inside), track_ids[inside]))
        return seen

    def _read(self, image: ImageLike, bgr: bool) -> Frame:
        return read_handed(image, bgr=bgr, max_pixels=self.max_pixels)

    def _detect(self, group: Sequence[Frame]) -> list[Seen]:
        found = self.finder.detect_batch([frame.image for frame in group])
        return [Seen(frame, _inside(faces, frame.image)) for frame, faces in zip(group, found, strict=True)]

    def _classify(self, seen: Sequence[Seen], smoother: Smoother | None = None) -> list[Analysis]:
        """Cut out all faces of all pictures and classify them together."""
        crops = [self.cut(one.frame.image, one.faces) for one in seen]
        rows = predict_views(self._predict, np.concatenate(crops), self.tta)
        parts = np.split(rows, np.cumsum([len(part) for part in crops])[:-1])
        return [self._result(one, part, smoother) for one, part in zip(seen, parts, strict=True)]

    def _predict(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.model.predict(crops, self.batch_size)

    def _refuse_empty(self, analysis: Analysis) -> None:
        if self.strict and not analysis:
            raise DataError("no face was found", [analysis.source or "the picture"])

    def _result(self, seen: Seen, shares: NDArray[np.float32], smoother: Smoother | None) -> Analysis:
        frame = seen.frame
        if smoother is not None and seen.track_ids is not None:
            shares = smoother.smooth(seen.track_ids, shares, frame.time or 0.0)
        faces = build_faces(seen, shares, self.classes, self.min_confidence)
        return Analysis(faces, frame.image, frame.source or None, frame.index, frame.time, tuple(self.classes))


def _check_options(max_pixels: int, batch_size: int | None, threads: int) -> None:
    """Refuse what would fail only when it is used."""
    if not is_whole(threads) or threads < 0:
        raise UsageError(
            f"threads: must be a whole number, 0 (as many as there are cores) or more, received {threads!r}"
        )
    for name, value in (("max_pixels", max_pixels), ("batch_size", batch_size)):
        if value is not None and (not is_whole(value) or value < 1):
            raise UsageError(f"{name}: must be a whole number, 1 or more, received {value!r}")


def analyze(image: ImageLike, model: str | Path | None = None, *, bgr: bool = False) -> Analysis:
    """Find the faces of one picture and say what they show: `Analyzer` in one line.

    The model and the detector are opened at the first call and kept.

    Args:
        image: what `Analyzer.analyze` takes.
        model: a model file, or the name of a bundled one; None for the bundled default.
        bgr: whether an array's colours are in OpenCV's order.

    Raises:
        UsageError, DataError, ModelError: see `Analyzer`.
    """
    path = find_model(model)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _shared(path, changed).analyze(image, bgr=bgr)


@lru_cache(maxsize=1)
def _shared(path: Path, changed: int) -> Analyzer:
    """One analyzer for all calls of `analyze`, until another model is asked for or the file changes."""
    del changed
    return Analyzer(path)


def _open(model: str | Path | Model | None, device: str, threads: int) -> Model:
    if model is None or isinstance(model, str | Path):
        return open_model(find_model(model), device=device, threads=threads)
    if hasattr(model, "summary"):  # Keras's own
        raise UsageError(
            "model: a Keras model does not say what its outputs mean; name a file that does: mien.fit saves it as "
            "model.onnx in result.folder, for others see docs/migrating.md"
        )
    if not hasattr(model, "spec") or not hasattr(model, "predict"):
        raise UsageError(f"model: must be a file, a bundled model's name or an opened model, received {model!r}")
    return model


def _as_frame(frame: object) -> Frame:
    if not isinstance(frame, Frame):
        raise UsageError(
            f"frames: each must be a mien.sources.Frame, received {type(frame).__name__}; mien.own_frames.frames_of "
            "makes them of pictures"
        )
    return frame


def _open_detector(detector: str | FindsFaces, threads: int) -> Detector:
    if isinstance(detector, str):
        return open_detector(detector, **({"threads": threads} if detector == "mtcnn" else {}))
    return own_detector(detector)


def _inside(faces: Detections, image: Image) -> Detections:
    return faces.take(rows_inside(faces.boxes_xyxy, image))
