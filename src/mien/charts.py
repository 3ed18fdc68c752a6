"""Drawings for the report: Matplotlib's SVG, made to stand inside a page and to take its colours from it.

Each drawing is narrow, so that its letters can be read on a phone; its colours are the page's CSS variables, so that it
follows light, dark and print; its letters are text, in the page's own typeface.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from mien.calibration import Reliability
from mien.coverage import Coverage
from mien.errors import MissingExtraError, many
from mien.reports import (
    FAINT,
    INK,
    TRAINING,
    VALIDATION,
    checked_history,
    draw_panel,
    marked_epoch,
    new_figure,
    plain_frame,
)
from mien.robustness import Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (4.4, 3.0)
"""Width and height in inches, of which the page shows about 72 pixels each on a phone."""

SMALL = (2.15, 1.65)
"""The same, for drawings that stand in twos on a phone."""

ACCENT, SOFT, PAPER = VALIDATION, TRAINING, "#FFFFFF"

VARIABLES = {INK: "--ink", FAINT: "--line", ACCENT: "--accent", SOFT: "--soft", PAPER: "--paper", "#000000": "--ink"}
"""Colours as they are drawn, and the page's variables that take their place."""

TYPEFACE = "system-ui, sans-serif"

_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 9.0, "axes.titlesize": 10.0, "axes.edgecolor": INK}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_FAMILY = re.compile(r"'DejaVu Sans'[^;]*")


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing for the page.

    Attributes:
        title: what stands above it.
        svg: an ``<svg>`` element without names of other places; everything in it is escaped.
        says: what it shows, in words, for those who do not see it.
    """

    title: str
    svg: str
    says: str


def curve_charts(history: Any, kept: int | None = None) -> tuple[Chart, ...]:
    """Accuracy and loss of training and validation against the epoch.

    Args:
        history: as `mien.reports.plot_curves` takes it.
        kept: the epoch to mark, likewise.

    Raises:
        UsageError: see there.
        MissingExtraError: Matplotlib is not installed.
    """
    curves = checked_history(history)
    marked, name = marked_epoch(curves, kept)
    watched = "validation" if "val_accuracy" in curves else "training"
    charts = []
    for quantity in ("accuracy", "loss"):
        with _settings(f"curves-{quantity}"):
            figure = new_figure(*SIZE)
            axes = figure.add_subplot()
            draw_panel(axes, curves, quantity, marked, name)
            axes.set_title("", loc="left")  # it stands above the drawing
            if quantity == "accuracy":
                _percent(axes)
            figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
            last = curves.get(f"val_{quantity}", curves[quantity])
            says = f"{quantity} against the epoch, {many(len(last), 'epoch')}"
            if marked is not None and not math.isnan(last[marked]):
                says += f"; the {name} epoch, {marked + 1}, has {last[marked]:.3f} on {watched}"
            charts.append(_chart(figure, f"curves-{quantity}", quantity.capitalize(), says))
    return tuple(charts)


def reliability_chart(part: Reliability, title: str, name: str) -> Chart:
    """Accuracy against confidence in bins, the diagonal where both agree, and below how many pictures each bin holds.

    Args:
        part: what `mien.calibration.reliability` gave.
        title: what stands above it.
        name: told apart from other drawings on the page by this.
    """
    filled = [one for one in part.bins if one.accuracy is not None]
    middles = [(one.low + one.high) / 2 for one in filled]
    width = part.bins[0].high - part.bins[0].low
    with _settings(name):
        figure = new_figure(SIZE[0], 3.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1, label="as sure as right")
        heights = [one.accuracy or 0.0 for one in filled]
        upper.bar(middles, heights, width * 0.92, color=ACCENT, alpha=0.28, label="accuracy")
        upper.plot([one.confidence for one in filled], heights, "o", color=ACCENT, markersize=3.5)
        lower.bar(middles, [one.n / part.n for one in filled], width * 0.92, color=SOFT, alpha=0.6)
        upper.set_xlim(0, 1)
        upper.set_ylim(0, 1)
        for axes, words in ((upper, "right"), (lower, "pictures")):
            _frame(axes)
            axes.set_ylabel(words, color=INK)
        lower.xaxis.set_major_formatter(_as_percent)
        lower.set_xlabel("confidence", color=INK)
        upper.legend(loc="upper left", frameon=False, labelcolor=INK)
        gap = "surer than right" if part.confidence > part.accuracy else "less sure than right"
        says = (
            f"reliability diagram: confidence {part.confidence:.1%} on average, accuracy {part.accuracy:.1%}, {gap}; "
            f"expected calibration error {part.ece:.1%}"
        )
        return _chart(figure, name, title, says)


def coverage_chart(coverage: Coverage) -> Chart:
    """Accuracy against the fraction of pictures that are answered, the point at 80 % marked."""
    mark = coverage.at_80
    with _settings("coverage"):
        figure = new_figure(*SIZE)
        axes = figure.add_subplot()
        accuracies = [point.accuracy for point in coverage.points]
        axes.plot([point.coverage for point in coverage.points], accuracies, color=ACCENT, linewidth=1.8)
        axes.plot([mark.coverage], [mark.accuracy], "o", color=INK, markersize=6)
        axes.annotate(
            f"{mark.accuracy:.1%}",
            (mark.coverage, mark.accuracy),
            (4, 8),
            textcoords="offset points",
            color=INK,
            fontweight="bold",
        )
        axes.set_xlim(0, 1.02)
        axes.set_xlabel("pictures answered, the surest first", color=INK)
        axes.set_ylabel("right", color=INK)
        _frame(axes)
        axes.set_ylim(min(0.98, max(0.0, min(accuracies) - 0.05)), 1.01)
        axes.xaxis.set_major_formatter(_as_percent)
        best = f"{mark.accuracy:.1%} of the surest {mark.coverage:.0%}"
        says = f"accuracy against coverage: {best}, {accuracies[-1]:.1%} of all"
        return _chart(figure, "coverage", "Accuracy against coverage", says)


def robustness_charts(robustness: Robustness) -> tuple[Chart, ...]:
    """For each way of spoiling pictures: accuracy against strength, beside that on the pictures as they are."""
    highest = max(robustness.clean, *(value for row in robustness.accuracy.values() for value in row))
    return tuple(_robustness_chart(kind, row, robustness.clean, highest) for kind, row in robustness.accuracy.items())


def _robustness_chart(kind: str, row: tuple[float, ...], clean: float, highest: float) -> Chart:
    with _settings(f"robust-{kind}"):
        figure = new_figure(*SMALL)
        axes = figure.add_subplot()
        axes.axhline(clean, color=SOFT, linewidth=1, linestyle="--")
        axes.plot(range(1, len(row) + 1), row, "-o", color=ACCENT, linewidth=1.6, markersize=3.5)
        _frame(axes)
        axes.set_ylim(0, min(1.0, highest + 0.08))
        axes.set_xticks(range(1, len(row) + 1))
        says = f"{kind}: {clean:.1%} clean, then " + ", ".join(f"{value:.1%}" for value in row)
        return _chart(figure, f"robust-{kind}", kind_name(kind), says)


def kind_name(kind: str) -> str:
    """A way of spoiling pictures, a key of `mien.corruptions.CORRUPTIONS`, as people write it."""
    return "JPEG" if kind == "jpeg" else kind.replace("_", " ").capitalize()


def _as_percent(value: float, _: object) -> str:
    return f"{round(100 * value, 2):g}%"


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(_as_percent)


def _frame(axes: Axes) -> None:
    plain_frame(axes)
    _percent(axes)


def _settings(name: str) -> Any:
    """Matplotlib's settings while one drawing is made and written; they are as before afterwards."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("drawing results", "evaluate") from error
    return mpl.rc_context({**_SETTINGS, "svg.hashsalt": name})


def _chart(figure: Figure, name: str, title: str, says: str) -> Chart:
    text = io.BytesIO()
    figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    root = ElementTree.fromstring(text.getvalue())  # noqa: S314 (Matplotlib wrote it a line above)
    _make_inline(root, name)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": f"{title}: {says}"}
    return Chart(title, ElementTree.tostring(root, encoding="unicode"), says)


def _make_inline(root: ElementTree.Element, name: str) -> None:
    """Bare names instead of namespaces, ids that no other drawing has, the page's colours and typeface."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        old = dict(element.attrib)
        element.attrib.clear()
        for key, value in old.items():
            key = key.rpartition("}")[2]
            element.set(key, _own_value(key, value, name))


def _own_value(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = value.replace("url(#", f"url(#{name}-")
    if key not in ("style", "fill", "stroke"):
        return value
    for colour, variable in VARIABLES.items():
        value = re.sub(colour, f"var({variable})", value, flags=re.IGNORECASE)
    return _FAMILY.sub(TYPEFACE, value)
