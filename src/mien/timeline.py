"""What the faces of a video show over time: collected as it is read, plotted at the end, a panel for each track."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.colours import colours_of
from mien.errors import DataError, MissingExtraError, UsageError, many
from mien.files import check_writable, replacing
from mien.labels import refuse_text
from mien.reports import show_as_written
from mien.tracks import TrackHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mien.analysis import Analysis

MOST_PANELS = 12
"""So many tracks are drawn: those seen longest."""

INK, FAINT, NEVER = "#333333", "#D9D9D9", "#F4F4F4"
"""Colours of words, of lines, and of the time in which a face was not seen."""

_COLUMNS = 900
"""Steps in time that a panel shows at most."""

_MOST_LABELS = 9
"""So many spans of time are labelled below a panel, at most."""

_CLOCK_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Seconds that such a span may have where labels are minutes and hours."""

_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150


class Timeline:
    """Collects what tracked faces show. Memory stays small: long tracks are kept at a coarser step."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Begin.

        Args:
            classes: names of the classes, in the model's order.

        Raises:
            MissingExtraError: Matplotlib is not installed.
            UsageError: `classes` is a text.
        """
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingExtraError("--timeline", "evaluate")
        refuse_text(classes)
        self._classes = tuple(classes)
        self._tracks: dict[tuple[str, int], TrackHistory] = {}
        self._ends: dict[str, float] = {}

    @staticmethod
    def check_path(path: str | Path) -> None:
        """Refuse a path that `save` would refuse; worth asking before a long video.

        Raises:
            UsageError: it does not end in .png, .svg or .pdf, or cannot be written.
        """
        if Path(path).suffix.lower() not in _SUFFIXES:
            raise UsageError(f"--timeline: must end in .png, .svg or .pdf, received {str(path)!r}")
        check_writable(path)

    def add(self, analysis: Analysis) -> None:
        """Take the faces of the next frame; what has no time or no track, as in single pictures, is left out.

        A frame without a face counts too: panels are as long as the video.
        """
        if analysis.time is None:
            return
        self._ends[analysis.source or ""] = analysis.time
        for face in analysis:
            if face.track_id is not None:
                row = np.array([face.probabilities.get(name, 0.0) for name in self._classes], np.float32)
                self.add_row(analysis.source, face.track_id, analysis.time, row)

    def add_row(self, source: str | None, track: int, time: float, probabilities: NDArray[np.float32]) -> None:
        """Take one face.

        Args:
            source: which video.
            track: the face's number.
            time: seconds from the video's beginning; not before the track's last.
            probabilities: float32 (classes,).
        """
        key = (source or "", track)
        if key not in self._tracks:
            self._tracks[key] = TrackHistory(len(self._classes))
        self._tracks[key].add(time, probabilities)

    def __len__(self) -> int:
        """How many tracks were seen."""
        return len(self._tracks)

    def save(self, path: str | Path) -> bool:
        """Plot all that was collected: a panel for each of the `MOST_PANELS` tracks that were seen longest.

        Args:
            path: the picture to write: .png, .svg or .pdf.

        Returns:
            Whether it was written: where no track was seen, there is nothing to plot.

        Raises:
            UsageError: the path has another ending or cannot be written.
            DataError: the disk is full.
            MissingExtraError: Matplotlib is not installed.
        """
        self.check_path(path)
        if not self._tracks:
            return False
        figure = self._draw()
        show_as_written(figure)
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, facecolor="white")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
        return True

    def _draw(self) -> Figure:
        order = list(dict.fromkeys(source for source, _ in self._tracks))
        longest = sorted(self._tracks, key=lambda key: -self._tracks[key].seconds)
        shown = sorted(longest[:MOST_PANELS], key=lambda key: (order.index(key[0]), key[1]))
        figure = _new_figure(9.6, 1.1 + 0.95 * len(shown))
        panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        ends = {source: self._end(source) for source, _ in shown}
        for row, (key, axes) in enumerate(zip(shown, panels, strict=True)):
            self._draw_panel(axes, key, ends[key[0]])
            last = row + 1 == len(shown) or shown[row + 1][0] != key[0]
            _label_time(axes, ends[key[0]], shown=last)
            if row == 0 or shown[row - 1][0] != key[0]:
                axes.set_title(_shortened(key[0]), loc="left", fontsize=9, color=INK, pad=5)
        self._explain(figure, [self._tracks[key].seconds for key in longest[MOST_PANELS:]])
        return figure

    def _end(self, source: str) -> float:
        seen = max(history.end for key, history in self._tracks.items() if key[0] == source)
        return max(seen, self._ends.get(source, 0.0))

    def _draw_panel(self, axes: Axes, key: tuple[str, int], end: float) -> None:
        edges = np.linspace(0.0, max(end, 1e-3), _COLUMNS + 1)
        heights = np.cumsum(self._tracks[key].sampled(edges), axis=1)
        times = np.repeat(edges, 2)[1:-1]
        below = np.zeros(len(times))
        for index, colour in enumerate(colours_of(self._classes).values()):
            above = np.repeat(heights[:, index], 2)
            axes.fill_between(times, below, above, color=_hexadecimal(colour), linewidth=0, rasterized=True)
            below = above
        axes.set_facecolor(NEVER)
        axes.set_xlim(0, edges[-1])
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "50", "100%"], fontsize=7)
        axes.set_ylabel(f"face {key[1]}", rotation=0, ha="right", va="center", fontsize=9, fontweight="bold", color=INK)
        axes.tick_params(colors=INK, labelsize=7, color=FAINT)
        axes.spines[:].set_visible(False)

    def _explain(self, figure: Figure, left_out: Sequence[float]) -> None:
        from matplotlib.patches import Patch

        colours = colours_of(self._classes).items()
        patches = [Patch(color=_hexadecimal(colour), label=name) for name, colour in colours]
        figure.legend(
            handles=patches,
            loc="outside upper center",
            ncols=min(len(patches), 8),
            frameon=False,
            fontsize=9,
            handlelength=1.0,
            columnspacing=1.4,
        )
        if left_out:
            what = many(len(left_out), "more face was", "more faces were")
            figure.supxlabel(f"{what} seen, for {max(left_out):.1f} s at most", fontsize=8, color=INK)


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("--timeline", "evaluate") from error
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _label_time(axes: Axes, end: float, *, shown: bool) -> None:
    """Seconds, or minutes and hours where there are so many."""
    from matplotlib.ticker import MaxNLocator, MultipleLocator

    step = next((step for step in _CLOCK_STEPS if end <= _MOST_LABELS * step), end / _MOST_LABELS)
    few = MaxNLocator(_MOST_LABELS, steps=[1, 2, 5, 10])
    axes.xaxis.set_major_locator(few if end < 120 else MultipleLocator(step))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s" if end < 120 else _clock(value))
    axes.tick_params(axis="x", labelbottom=shown)


def _clock(seconds: float) -> str:
    """Minutes and seconds, or hours too: ``"2:05"``, ``"1:00:00"``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _shortened(source: str) -> str:
    """A source's last part, at most 80 signs long; dollars would begin a formula."""
    name = source.replace("\\", "/").rstrip("/").rpartition("/")[2] or "video"
    return (name if len(name) <= 80 else f"{name[:79]}…").replace("$", r"\$")


def _hexadecimal(colour: tuple[int, int, int]) -> str:
    return f"#{bytes(colour).hex()}"
