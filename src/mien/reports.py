"""Pictures of how training went and of what a model confuses, drawn without touching Matplotlib's global state."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import MissingExtraError, UsageError
from mien.evaluation import Evaluation
from mien.files import replacing
from mien.lettering import font_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

TRAINING, VALIDATION = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe and Ito's palette (2008), which colour-blind people tell apart."""

INK, FAINT = "#333333", "#D9D9D9"
DPI = 150

OWN_FONT = "DejaVuSans.ttf"
"""What Matplotlib writes with, and brings along."""

MOST_LABELLED = 30
"""With more classes the cells are too small to write in."""

LONGEST_NAME = 32
"""Longer names of classes are cut in the middle in pictures, where they would leave no room for the cells."""

LETTER_WIDTH, STEEP = 0.085, 0.75
"""About how wide a letter of 10 points is, in inches, and how high a slanting text is, of its length."""

FILE_BACKENDS = frozenset({"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"})
"""Matplotlib's backends that open no window."""

History = Mapping[str, Sequence[float]]
"""Keras's names to one number an epoch: accuracy, loss and, where there was validation, val_accuracy and val_loss."""


def plot_curves(history: Any, path: str | Path, kept: int | None = None) -> Path:
    """Draw accuracy and loss of training and validation against the epoch, the kept epoch or the best one marked.

    Args:
        history: a `History`, or what Keras's ``fit`` returned.
        path: the picture to write: .png, .svg or .pdf.
        kept: the epoch, from 1, whose model was kept, to be marked; None where that is not known, for the best.

    Returns:
        The path.

    Raises:
        UsageError: the history is empty, lacks accuracy or loss, its lists differ in length, or it has no epoch `kept`;
            or the path has another ending.
        MissingExtraError: Matplotlib is not installed.
    """
    figure = new_figure(9.6, 4.0)
    _draw_curves(figure, checked_history(history), kept)
    return _save(figure, path)


def show_results(history: Any, path: str | Path = "results.png", show: Literal["auto"] | bool = "auto") -> Path:
    """Draw how training went: always to a file, and in a window where there is a screen.

    Args:
        history: see `plot_curves`; of what `mien.fit` returned, the kept epoch is marked.
        path: see `plot_curves`.
        show: ``auto`` opens a window where Matplotlib can; True asks for one; False never does. A window keeps the
            program waiting until it is closed.

    Returns:
        The path of the picture.

    Raises:
        UsageError: see `plot_curves`; or `show` is True and no window can be opened.
    """
    if show not in ("auto", True, False):
        raise UsageError(f"show: must be 'auto', True or False, received {show!r}")
    curves = checked_history(history)
    epoch = getattr(history, "epoch", None)
    kept = epoch if isinstance(epoch, int) else None  # Keras's own History has a list there
    written = plot_curves(curves, path, kept)
    if show is True or (show == "auto" and _may_have_screen()):
        _open_window(curves, kept, required=show is True)
    return written


def plot_confusion(evaluation: Evaluation, path: str | Path) -> Path:
    """Draw a confusion matrix: each cell's count and its share of the row, which its shade shows.

    Args:
        evaluation: what `mien.evaluation.evaluate` gave.
        path: the picture to write: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        UsageError: the path has another ending.
        MissingExtraError: Matplotlib is not installed.
    """
    k = len(evaluation.classes)
    cells = max(3.0, 0.78 * k) if k <= MOST_LABELLED else min(max(10.0, 0.16 * k), 40.0)
    names = LETTER_WIDTH * max(map(len, _short_names(evaluation.classes)))
    figure = new_figure(max(4.6, cells + max(0.8, names) + 1.0), cells + names * STEEP + 1.2)
    _draw_confusion(figure.add_subplot(), evaluation)
    return _save(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing results", "evaluate") from error
    figure = Figure(figsize=(width, height), dpi=DPI, layout=_layout())
    FigureCanvasAgg(figure)
    return figure


def _layout() -> ConstrainedLayoutEngine:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"path: must end in .png, .svg or .pdf, received {str(path)!r}")
    show_as_written(figure)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # of which boxes tell
        figure.savefig(temporary, facecolor="white")
    return path


def show_as_written(figure: Figure) -> None:
    """Show all texts sign by sign: ``$`` begins no formula, and another font has what Matplotlib's own lacks."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        file = font_file(text.get_text())
        if file is not None and Path(file).name != OWN_FONT:
            properties = text.get_fontproperties().copy()
            properties.set_file(file)
            text.set_fontproperties(properties)


def checked_history(history: Any) -> dict[str, list[float]]:
    """The four curves as plain numbers, those of validation only where they are there.

    Raises:
        UsageError: the history is empty, lacks accuracy or loss, or its lists differ in length.
    """
    values = getattr(history, "history", history)
    if not isinstance(values, Mapping) or not {"accuracy", "loss"} <= set(values):
        raise UsageError(
            "history: must be what Keras's fit returned, or a mapping of 'accuracy' and 'loss' to one number an epoch, "
            f"received {sorted(values) if isinstance(values, Mapping) else type(values).__name__}"
        )
    names = [name for name in ("accuracy", "loss", "val_accuracy", "val_loss") if name in values]
    curves = {name: [float(value) for value in values[name]] for name in names}
    lengths = {name: len(curve) for name, curve in curves.items()}
    if len(set(lengths.values())) != 1 or not lengths["loss"]:
        raise UsageError(f"history: must hold one number an epoch and at least one epoch, received lengths {lengths}")
    return curves


def best_epoch(curves: History) -> int | None:
    """Index of the epoch of highest validation accuracy, of training accuracy where there was no validation."""
    accuracy = np.asarray(curves.get("val_accuracy", curves["accuracy"]))
    return None if np.isnan(accuracy).all() else int(np.nanargmax(accuracy))


def marked_epoch(curves: History, kept: int | None) -> tuple[int | None, str]:
    """Index of the epoch to mark, None for none, and what it is called: ``kept``, or ``best`` where `kept` is None.

    Raises:
        UsageError: the history has no epoch `kept`, counted from 1.
    """
    epochs = len(curves["loss"])
    if kept is None:
        return best_epoch(curves), "best"
    if not 1 <= kept <= epochs:
        raise UsageError(f"kept: must be an epoch of the history, 1 to {epochs}, received {kept}")
    return kept - 1, "kept"


def _draw_curves(figure: Figure, curves: History, kept: int | None) -> None:
    marked, name = marked_epoch(curves, kept)
    left, right = figure.subplots(1, 2)
    draw_panel(left, curves, "accuracy", marked, name)
    draw_panel(right, curves, "loss", marked, name)
    left.yaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 2):g}%")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def draw_panel(axes: Axes, curves: History, quantity: str, marked: int | None, name: str = "best") -> None:
    """Draw one quantity, ``accuracy`` or ``loss``, of training and validation, one epoch marked.

    Args:
        axes: where to draw.
        curves: what to draw.
        quantity: ``accuracy`` or ``loss``.
        marked: index of the epoch to mark, None for none.
        name: what the legend calls that epoch: ``best`` or ``kept``.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(curves["loss"]) + 1)
    marker = "o" if len(epochs) < 12 else None
    series = [(quantity, "training", TRAINING, "--"), (f"val_{quantity}", "validation", VALIDATION, "-")]
    for key, label, colour, line in series:
        if key in curves:
            known = [(epoch, value) for epoch, value in zip(epochs, curves[key], strict=True) if not math.isnan(value)]
            numbers, values = zip(*known, strict=True) if known else ((), ())
            axes.plot(numbers, values, line, color=colour, label=label, linewidth=1.8, marker=marker, markersize=4)
    if marked is not None:
        _mark_epoch(axes, curves.get(f"val_{quantity}", curves[quantity]), quantity, marked, name)
    axes.set_title(quantity.capitalize(), loc="left", fontweight="bold", color=INK)
    axes.set_xlabel("epoch", color=INK)
    axes.set_xlim(0.5, len(epochs) + max(0.5, 0.02 * len(epochs)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plain_frame(axes)
    if quantity == "accuracy" and axes.get_ylim()[0] < 0:
        axes.set_ylim(bottom=0)  # no accuracy is below it, though the margin is


def _mark_epoch(axes: Axes, curve: Sequence[float], quantity: str, marked: int, name: str) -> None:
    axes.axvline(marked + 1, color=INK, linewidth=0.9, linestyle=":", zorder=0)
    if math.isnan(curve[marked]):
        return
    value = f"{curve[marked]:.1%}" if quantity == "accuracy" else f"{curve[marked]:.3f}"
    axes.plot(
        [marked + 1], [curve[marked]], "o", color=INK, markersize=6, label=f"{name} epoch ({marked + 1})", zorder=5
    )
    right = marked + 1 > (len(curve) + 1) / 2
    axes.annotate(
        value,
        (marked + 1, curve[marked]),
        xytext=(-7 if right else 7, 8),
        textcoords="offset points",
        ha="right" if right else "left",
        color=INK,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
        zorder=6,
    )


def plain_frame(axes: Axes) -> None:
    """Horizontal lines only, and no box around them."""
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.tick_params(colors=INK)


def _draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    counts = np.asarray(evaluation.confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(np.arange(1, len(counts)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(counts)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    if len(counts) <= MOST_LABELLED:
        _label_cells(axes, counts, shares)
    names = _short_names(evaluation.classes)
    crowded = len(names) > MOST_LABELLED
    size = min(10.0, 500 / len(names)) if crowded else 10.0
    rotation = 45 if max(map(len, names)) > 9 or len(names) > 12 else 0
    axes.set_xticks(range(len(names)), names, rotation=rotation, ha="right" if rotation else "center", fontsize=size)
    between = ", " if crowded else "\n"
    rows = [f"{name}{between}n = {int(total):,}" for name, total in zip(names, totals[:, 0], strict=True)]
    axes.set_yticks(range(len(names)), rows, fontsize=size)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", fontweight="bold", color=INK)
    axes.set_ylabel("true", fontweight="bold", color=INK)
    low, high = evaluation.accuracy_interval
    accuracy = f"accuracy {evaluation.accuracy:.1%} (95% interval {low:.1%} to {high:.1%})"
    axes.set_title(f"{evaluation.split}, n = {evaluation.n:,}\n{accuracy}", fontsize=10, color=INK)


def _short_names(classes: Sequence[str]) -> list[str]:
    """Names of classes, long ones without their middle, as those that begin alike often end otherwise."""
    half = LONGEST_NAME // 2
    return [name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}" for name in classes]


def _label_cells(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}\n{share:.0%}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if share > 0.55 else INK,
            fontweight="bold" if row == column else "normal",
        )


def _may_have_screen() -> bool:
    """Whether it is worth asking Matplotlib for a window: on Linux only under X11, Wayland or a chosen backend."""
    asked = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in asked)


def _open_window(curves: History, kept: int | None, *, required: bool) -> None:
    """Show the curves with pyplot, which alone knows how; its backend is chosen here if nothing chose one before."""
    import matplotlib.pyplot as plt

    backend = plt.get_backend()
    if backend.lower() in FILE_BACKENDS:
        if required:
            raise UsageError(f"show: no window can be opened (Matplotlib's backend is {backend}); use show=False")
        return
    figure = plt.figure(figsize=(9.6, 4.0), layout=_layout())
    _draw_curves(figure, curves, kept)
    plt.show()
    plt.close(figure)
