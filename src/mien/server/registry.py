"""The models that are served: each opened once, shared by all requests whatever their options."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from mien import litert
from mien.analysis import Analysis
from mien.analyzer import Analyzer
from mien.classifier import Model, open_model
from mien.errors import UsageError
from mien.faces import MTCNN, Detector, WholePicture
from mien.images import MAX_PIXELS, Image
from mien.server.options import Options
from mien.sources import Frame
from mien.weights import BUNDLED, find_model

KEPT = 64
"""Analyzers that are kept for the next request with the same options; they are light, as they share what is heavy."""

THREADED = (".onnx", litert.SUFFIX)
"""Endings of the models that are told how many threads they may use."""


class PictureAnalyzer(Protocol):
    """What the service needs of a `mien.Analyzer`; tests pass fakes."""

    model: Model

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the expressions."""

    def analyze_batch(self, images: Sequence[Image]) -> list[Analysis]:
        """A result for each picture, uint8 (height, width, 3) RGB."""

    def analyze_frames(
        self, frames: Iterable[Frame], *, smooth: float = 0.5, detect_every: int | None = None
    ) -> Iterator[tuple[Frame, Analysis]]:
        """Each frame with its result."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model by the name that requests use.

    Attributes:
        name: a bundled model's name, or the file's without its ending.
        path: the file.
        model: opened.
    """

    name: str
    path: Path
    model: Model


class Analyzers:
    """Models and detectors, opened once. Safe to share between threads.

    Attributes:
        models: by name; the first is the default.
    """

    def __init__(
        self,
        models: str | Path | Sequence[str | Path] = (),
        *,
        threads: int = 0,
        device: str = "auto",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Open them.

        Args:
            models: names of bundled models, or files; none for mien-small; one may stand alone. The first is the
                default.
            threads: CPU threads that one call may use; 0 for as many as there are cores.
            device: where an ``.onnx`` runs.
            max_pixels: pictures with more are refused before they are decoded.

        Raises:
            UsageError: there is no such file, or two have the same name.
            ModelError: a file is no model.
        """
        self.max_pixels = max_pixels
        self.models: dict[str, ServedModel] = {}
        several = (models,) if isinstance(models, str | Path) else models
        for wanted in several or tuple(BUNDLED)[:1]:
            opened = _open(wanted, device, threads)
            if opened.name in self.models:
                raise UsageError(f"model: two are called {opened.name!r}; rename one of the files")
            self.models[opened.name] = opened
        self._single = {name: _single(served, device, threads) for name, served in self.models.items()}
        self._finders = {False: MTCNN(threads=threads), True: MTCNN(threads=1)}
        self._whole = WholePicture()
        self._kept: OrderedDict[tuple[Options, bool], Analyzer] = OrderedDict()
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, the default first."""
        return tuple(self.models)

    @property
    def default(self) -> str:
        """Name of the model that is used where none is asked for."""
        return self.names[0]

    def get(self, options: Options, *, single: bool = False) -> PictureAnalyzer:
        """The analyzer for these options.

        Args:
            options: what a request asks for.
            single: whether it works in the thread that calls it alone, so that several are fast beside each other.

        Raises:
            UsageError: an option is out of range, or there is no such model.
        """
        with self._lock:
            analyzer = self._kept.get((options, single))
            if analyzer is None:
                analyzer = self._kept[options, single] = self._make(options, single)
            self._kept.move_to_end((options, single))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return analyzer

    def get_single(self, options: Options) -> PictureAnalyzer:
        """`get` with `single`."""
        return self.get(options, single=True)

    def _make(self, options: Options, single: bool) -> Analyzer:
        if options.model not in self.models:
            raise UsageError(f"model: no such model {options.model!r}; choose from {', '.join(self.names)}")
        return Analyzer(
            self._single[options.model] if single else self.models[options.model].model,
            detector=self._detector(options, single),
            margin=options.margin,
            align=options.align,
            tta=options.tta,
            min_confidence=options.min_confidence,
            max_pixels=self.max_pixels,
        )

    def _detector(self, options: Options, single: bool) -> Detector:
        if options.detector == "none":
            return self._whole
        finder = self._finders[single]
        if options.min_face_size is None:
            return finder
        return finder.with_options(min_face_size=options.min_face_size)  # the same networks


def _single(served: ServedModel, device: str, threads: int) -> Model:
    """The model once more, for one thread; the same one where it uses one only, or is Keras's."""
    if threads == 1 or served.path.suffix.lower() not in THREADED:
        return served.model
    return open_model(served.path, device=device, threads=1)


def _open(wanted: str | Path, device: str, threads: int) -> ServedModel:
    path = find_model(wanted)
    name = str(wanted) if str(wanted) in BUNDLED else path.stem
    count = threads if path.suffix.lower() in THREADED else 0  # Keras decides for itself
    return ServedModel(name, path, open_model(path, device=device, threads=count))
