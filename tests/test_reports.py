"""The pictures: that they are written whole, show what they should, and leave Matplotlib's global state alone."""

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from fonts import SIGNS, add_font
from mien.errors import UsageError
from mien.evaluation import Evaluation, judge
from mien.reports import plot_confusion, plot_curves, show_results

HISTORY = {
    "accuracy": [0.3, 0.4, 0.5],
    "loss": [1.8, 1.5, 1.2],
    "val_accuracy": [0.3, 0.45, 0.42],
    "val_loss": [1.7, 1.4, 1.6],
    "learning_rate": [0.01, 0.01, 0.01],
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that were saved."""
    saved: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig

    def keep(figure: matplotlib.figure.Figure, *args: object, **options: object) -> None:
        saved.append(figure)
        save(figure, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return saved


def judged(classes: int = 3, split: str = "public") -> Evaluation:
    labels = np.arange(classes * 4) % classes
    probabilities = np.roll(np.eye(classes), 1, axis=0)[labels] * 0.4 + np.eye(classes)[labels] * 0.6
    return judge(probabilities, labels, classes=[f"class {index}" for index in range(classes)], split=split)


def test_curves_show_four_lines_and_the_best_epoch(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    path = plot_curves(HISTORY, tmp_path / "made" / "curves.png")
    assert path == tmp_path / "made" / "curves.png"
    with Image.open(path) as picture:
        assert picture.width > 1000
    left, right = figures[0].axes
    lines = {line.get_label(): list(line.get_ydata()) for line in left.lines}
    assert lines["training"] == HISTORY["accuracy"]
    assert lines["validation"] == HISTORY["val_accuracy"]
    assert lines["best epoch (2)"] == [0.45]
    assert [text.get_text() for text in (*left.texts, *right.texts)] == ["45.0%", "1.400"]
    assert [list(line.get_ydata()) for line in right.lines if line.get_label() == "validation"] == [HISTORY["val_loss"]]


def test_without_validation_the_best_is_of_training(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    plot_curves({"accuracy": [0.2, 0.6, 0.5], "loss": [2, 1, 1.1]}, tmp_path / "curves.svg")
    labels = [line.get_label() for line in figures[0].axes[0].lines]
    assert "best epoch (2)" in labels
    assert "validation" not in labels


def test_the_kept_epoch_is_marked_where_it_is_known(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    plot_curves(HISTORY, tmp_path / "curves.png", kept=3)
    left, right = figures[0].axes
    lines = {str(line.get_label()): list(line.get_ydata()) for line in left.lines}
    assert lines["kept epoch (3)"] == [0.42]
    assert not [label for label in lines if label.startswith("best")]
    assert [text.get_text() for text in (*left.texts, *right.texts)] == ["42.0%", "1.600"]
    for kept in (0, 4):
        with pytest.raises(UsageError, match="kept: must be an epoch of the history, 1 to 3, received"):
            plot_curves(HISTORY, tmp_path / "wrong.png", kept=kept)


def test_the_axis_of_accuracies_does_not_go_below_0(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    low = {"accuracy": [0.0, 0.5], "loss": [0.0, 0.0]}
    plot_curves(low, tmp_path / "low.png")
    plot_curves(HISTORY, tmp_path / "high.png")
    assert figures[0].axes[0].get_ylim()[0] == 0
    assert figures[0].axes[1].get_ylim()[0] < 0
    assert 0.2 < figures[1].axes[0].get_ylim()[0] < 0.3


def test_a_keras_history_and_missing_values(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    nan = float("nan")
    history = SimpleNamespace(history={**HISTORY, "val_accuracy": [nan, 0.4, nan], "val_loss": [nan, nan, nan]})
    plot_curves(history, tmp_path / "curves.png")
    assert "best epoch (2)" in [line.get_label() for line in figures[0].axes[0].lines]
    plot_curves({"accuracy": [nan], "loss": [nan]}, tmp_path / "lost.png")
    assert not [line for line in figures[1].axes[0].lines if str(line.get_label()).startswith("best")]


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"loss": [1.0]},
        {"loss": [], "accuracy": []},
        {"loss": [1.0, 0.9], "accuracy": [0.5]},
        {"loss": [1.0], "accuracy": [0.5], "val_loss": [1.0, 2.0]},
        [0.5, 0.6],
    ],
)
def test_histories_that_cannot_be_drawn(tmp_path: Path, history: object) -> None:
    with pytest.raises(UsageError, match="history"):
        plot_curves(history, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.png, \.svg or \.pdf"):
        plot_curves(HISTORY, tmp_path / "curves.doc")


def test_a_failed_save_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plot_curves(HISTORY, tmp_path / "curves.png")
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_curves(HISTORY, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_confusion_shows_counts_and_shares(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    evaluation = judge(
        np.eye(2)[[0, 0, 0, 1, 1, 1, 0]], np.array([0, 0, 0, 0, 1, 1, 1]), classes=("happy", "sad"), split="val"
    )
    path = plot_confusion(evaluation, tmp_path / "confusion.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    (axes,) = figures[0].axes
    assert [text.get_text() for text in axes.texts] == ["3\n75%", "1\n25%", "1\n33%", "2\n67%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy\nn = 4", "sad\nn = 3"]
    assert axes.get_title().startswith("val, n = 7\naccuracy 71.4%")


@pytest.mark.parametrize(("classes", "texts"), [(2, 4), (7, 49), (31, 0)])
def test_confusion_of_few_and_many_classes(
    tmp_path: Path, figures: list[matplotlib.figure.Figure], classes: int, texts: int
) -> None:
    plot_confusion(judged(classes), tmp_path / "confusion.png")
    assert len(figures[0].axes[0].texts) == texts


def test_a_class_without_pictures_is_drawn(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    plot_confusion(judge(np.eye(2), np.array([0, 0]), classes=("happy", "sad")), tmp_path / "confusion.png")
    assert figures[0].axes[0].texts[-1].get_text() == "0\n0%"


@pytest.mark.parametrize("name", ["an expression with a very long name", "a_name_without_any_place_to_break_it" * 9])
def test_long_names_leave_room_for_the_cells(
    tmp_path: Path, figures: list[matplotlib.figure.Figure], name: str
) -> None:
    plot_confusion(judge(np.eye(2), np.array([0, 1]), classes=("happy", name)), tmp_path / "confusion.png")
    box = figures[0].axes[0].get_window_extent()
    assert min(box.width, box.height) > 2.5 * figures[0].dpi
    (shown,) = (label.get_text() for label in figures[0].axes[0].get_xticklabels() if label.get_text() != "happy")
    assert shown.startswith(name[:12])
    assert shown.endswith(name[-12:])


def test_rows_of_many_classes_do_not_overlap(tmp_path: Path, figures: list[matplotlib.figure.Figure]) -> None:
    plot_confusion(judged(60), tmp_path / "confusion.png")
    boxes = [label.get_window_extent() for label in figures[0].axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))


def test_signs_that_no_font_has_are_no_warning(tmp_path: Path) -> None:
    classes = ("happy", "\ue000\U000f1234")
    path = plot_confusion(judge(np.eye(2), np.array([0, 1]), classes=classes), tmp_path / "confusion.png")
    assert path.stat().st_size > 0


def test_names_of_classes_are_shown_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: list[matplotlib.figure.Figure]
) -> None:
    file = add_font(tmp_path, monkeypatch)
    classes = (SIGNS, "5 $\\a$")  # the second is no formula that Matplotlib could set
    plot_confusion(judge(np.eye(2), np.array([0, 1]), classes=classes), tmp_path / "confusion.png")
    labels = figures[0].axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == list(classes)
    assert [label.get_fontproperties().get_file() for label in labels] == [file, None]


def test_show_results_writes_the_file_and_gives_its_path(tmp_path: Path) -> None:
    path = show_results(HISTORY, tmp_path / "results.png", show=False)
    assert path == tmp_path / "results.png"
    assert path.stat().st_size > 0


def test_show_results_marks_the_epoch_that_a_training_kept(
    tmp_path: Path, figures: list[matplotlib.figure.Figure]
) -> None:
    for history in (SimpleNamespace(history=HISTORY, epoch=3), SimpleNamespace(history=HISTORY, epoch=[0, 1, 2])):
        show_results(history, tmp_path / "results.png", show=False)  # the second is as Keras's fit returns it
    marked = [
        next(str(line.get_label()) for line in one.axes[0].lines if "epoch" in str(line.get_label())) for one in figures
    ]
    assert marked == ["kept epoch (3)", "best epoch (2)"]


def test_show_results_without_a_screen_never_loads_pyplot(tmp_path: Path) -> None:
    code = f"""
import os, sys
for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
    os.environ.pop(name, None)
sys.platform = "linux"
from mien.reports import show_results
print(show_results({{"accuracy": [0.5], "loss": [1.0]}}, {str(tmp_path / "results.png")!r}))
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, timeout=60)
    assert (tmp_path / "results.png").exists()


def test_show_results_opens_a_window_where_there_is_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    shown: list[int] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(plt, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    show_results(HISTORY, tmp_path / "results.png")
    assert shown == [2]
    assert not plt.get_fignums()


def test_a_window_that_cannot_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(plt, "get_backend", lambda: "agg")
    assert show_results(HISTORY, tmp_path / "results.png").exists()
    with pytest.raises(UsageError, match="no window can be opened"):
        show_results(HISTORY, tmp_path / "asked.png", show=True)


def test_show_takes_only_its_three_values(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="show: must be"):
        show_results(HISTORY, tmp_path / "results.png", show="yes")  # type: ignore[arg-type]
