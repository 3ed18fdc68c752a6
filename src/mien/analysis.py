"""What analysing one picture or one frame gives: its faces, which draw themselves and turn into rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from mien.errors import UsageError
from mien.images import Image
from mien.results import Face

if TYPE_CHECKING:
    import pandas
    from PIL import Image as PillowImage

ROW_COLUMNS = ("source", "frame", "time", "track", "x1", "y1", "x2", "y2", "score", "expression", "confidence")
"""The columns of a flat row; one for each class follows, with its probability."""

SHOWN_PIXELS = 1024
"""The longer side of a picture in a notebook."""


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(Sequence[Face]):
    """The faces of one picture, largest first. A sequence of `Face`: empty where there is none.

    Attributes:
        faces: the faces.
        image: the picture they were found in, uint8 (height, width, 3) RGB or (height, width), upright.
        source: where it came from: a path, an address, ``webcam 0``; None for a picture that was handed over.
        frame: number of the frame in its video, from 0; 0 for a single picture.
        time: seconds from the video's beginning; None for a single picture.
        classes: what the model tells apart, in its order, which a picture without a face does not show.
    """

    faces: tuple[Face, ...]
    image: Image = field(repr=False)
    source: str | None = None
    frame: int = 0
    time: float | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.faces)

    @overload
    def __getitem__(self, index: int) -> Face: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Face, ...]: ...
    def __getitem__(self, index: int | slice) -> Face | tuple[Face, ...]:
        return self.faces[index]

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    def __repr__(self) -> str:
        shown = ", ".join(f"{face.expression} {face.confidence:.0%}" for face in self.faces) or "no face"
        return f"<Analysis of {self.source or 'a picture'}: {shown}>"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: source, frame, time, size_wh and faces, each as `Face.to_dict` gives it."""
        height, width = self.image.shape[:2]
        place = {"source": self.source, "frame": self.frame, "time": self.time, "size_wh": [width, height]}
        return {**place, "faces": [face.to_dict() for face in self.faces]}

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as a JSON document."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def records(self) -> list[dict[str, Any]]:
        """One nested, JSON-ready dict for each face: source, frame, time, then what `Face.to_dict` gives."""
        place = {"source": self.source, "frame": self.frame, "time": self.time}
        return [{**place, **face.to_dict()} for face in self.faces]

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict for each face: `ROW_COLUMNS`, then each class with its probability."""
        return [flat_row(record) for record in self.records()]

    def to_dataframe(self) -> pandas.DataFrame:
        """`rows` as a pandas data frame; needs pandas, which mien does not install."""
        return to_dataframe([self])

    def _repr_jpeg_(self) -> bytes:
        """The picture as `draw` gives it, where a notebook shows the analysis; not larger than a screen."""
        picture = self.draw()
        picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def draw(self, *, bars: bool = True, names: Mapping[str, str] | None = None) -> PillowImage.Image:
        """A copy of the picture with boxes, expressions and bars on it; the arguments are `mien.drawing.draw_faces`'s.

        Args:
            bars: whether to draw a panel with a bar for each class.
            names: class to what is written for it, where that is another word: ``{"happy": "froh"}``.
        """
        from PIL import Image as PillowImage

        from mien.drawing import draw_faces

        return PillowImage.fromarray(draw_faces(self.image, self.faces, bars=bars, names=names))


def flat_row(record: dict[str, Any]) -> dict[str, Any]:
    """A row of a table from a nested record, as `Analysis.records` gives it; keypoints are left out."""
    box, shares = record["box"], record["probabilities"]
    flat = {**record, **box}
    return {**{name: flat[name] for name in ROW_COLUMNS}, **shares}


def to_dataframe(analyses: Iterable[Analysis]) -> pandas.DataFrame:
    """The faces of many pictures as one pandas data frame, a row each; needs pandas, which mien does not install.

    Raises:
        UsageError: pandas is not installed, or it is the analysis of a single picture, or something else.
    """
    given: object = analyses
    if isinstance(given, Analysis):
        raise UsageError("analyses: must be several, received one; call its own to_dataframe()")
    if not isinstance(given, Iterable):
        raise UsageError(f"analyses: must be several, received {type(given).__name__}")
    try:
        import pandas
    except ImportError as error:
        raise UsageError("to_dataframe: needs pandas: pip install pandas") from error
    rows: list[dict[str, Any]] = []
    classes: dict[str, None] = {}
    for analysis in analyses:
        _check(analysis)
        rows += analysis.rows()
        classes |= dict.fromkeys(analysis.classes)
    return pandas.DataFrame(rows, columns=None if rows else [*ROW_COLUMNS, *classes])


def _check(analysis: object) -> None:
    if not isinstance(analysis, Analysis):
        raise UsageError(
            f"analyses: each must be what Analyzer.analyze gives, an Analysis, received {type(analysis).__name__}"
        )
