"""The page of an audit: one file that holds its pictures, readable on a phone, in light and in dark."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.audit import Audit, group_rows
from mien.datasets.streaming import is_grey
from mien.errors import DataError, MissingExtraError, many
from mien.files import write_text
from mien.images import Image
from mien.preprocessing import InputSpec

MOST = 24
"""Pictures, or sets of them, on a sheet."""

MOST_IN_SET = 6
"""Pictures that are shown of one set; the others are counted."""

BINS = 32
"""Bars of a histogram."""


@dataclass(frozen=True)
class Tile:
    """One picture on a sheet.

    Attributes:
        address: ``data:image/jpeg;base64,...``.
        label: its class, empty where it has none.
        split: where it belongs.
        name: its file or row.
        note: what there is to know of it.
    """

    address: str
    label: str
    split: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """Pictures that belong together.

    Attributes:
        key: for links to it.
        title: what they are.
        text: what to look for.
        sets: the pictures of each set; sets of one where they stand by themselves.
        more: for each set, how many more pictures it has than are shown.
        total: how many sets there are in all.
    """

    key: str
    title: str
    text: str
    sets: tuple[tuple[Tile, ...], ...]
    more: tuple[int, ...]
    total: int

    @property
    def single(self) -> bool:
        """Whether pictures stand by themselves."""
        return all(len(tiles) == 1 for tiles in self.sets)


def check_jinja() -> None:
    """Find out before any work is done whether a page can be written.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("writing audit.html", "audit") from error


def write_report(found: Audit, path: str | Path) -> Path:
    """Write the page of an audit, whole or not at all.

    Args:
        found: what `mien.datasets.audit.audit` gave.
        path: an .html file.

    Returns:
        The path.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        UsageError: the file cannot be written.
        DataError: an image could be read a moment ago, and now cannot.
    """
    check_jinja()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from mien import __version__

    environment = Environment(
        loader=PackageLoader("mien"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": lambda value: f"{value:,}", "many": many}
    page = environment.get_template("audit.html.j2").render(
        audit=found.to_dict(),
        name=found.dataset.path.resolve().name,
        sheets=sheets(found),
        histograms=histograms(found),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        version=__version__,
    )
    write_text(path, page)
    return Path(path)


def histograms(found: Audit) -> dict[str, list[float]]:
    """Height of each of `BINS` bars, 0 to 1, for brightness (0 to 255) and contrast (0 to 128)."""
    bars = {}
    for name, values, top in (
        ("Brightness", found.measures.brightness, 255),
        ("Contrast", found.measures.contrast, 127.5),
    ):
        counts = np.histogram(values[np.isfinite(values)], bins=BINS, range=(0, top))[0]
        bars[name] = (counts / max(1, counts.max())).tolist()
    return bars


def sheets(found: Audit) -> list[Sheet]:
    """The sheets that have something to show."""
    drawn = [
        _draw(found, "blank", "Blank, or nearly so", "One brightness takes most of these.", _singles(found.blank)),
        *_copy_sheets(found),
        _draw(found, "dark", "Darkest", "Apart from blank ones.", _extreme(found, 1)),
        _draw(found, "bright", "Brightest", "Apart from blank ones.", _extreme(found, -1)),
        _draw(
            found,
            "faceless",
            "No face found",
            "MTCNN finds no face here; it also misses faces that are there. Some of all.",
            _singles(found.without_face),
        ),
        _label_sheet(found),
    ]
    return [sheet for sheet in drawn if sheet is not None]


def _copy_sheets(found: Audit) -> list[Sheet | None]:
    groups = group_rows(found.copies, found.survey.usable)
    splits, labels = found.dataset.splits, found.dataset.labels
    shared = [rows for rows in groups if len(np.unique(splits[rows])) > 1]
    torn = [rows for rows in groups if len(np.unique(labels[rows][labels[rows] >= 0])) > 1]
    large = sorted(groups, key=len, reverse=True)
    pairs = [] if found.near is None else list(found.near.pairs.rows[::-1])
    likeness = [] if found.near is None else [f"{like:.3f}" for like in found.near.pairs.likeness[::-1].tolist()]
    return [
        _draw(found, "shared", "In two splits", "Judging on these tells what a model remembers.", shared),
        _draw(found, "torn", "Same picture, different labels", "At most one of the labels is right.", torn),
        _draw(found, "large", "Most often repeated", "", large),
        _draw(
            found,
            "least",
            "Nearly identical: the least alike",
            "Where near-duplicates begin, each with its correlation: if these are the same picture, so are the others.",
            pairs[:MOST],
            notes=likeness,
            total=len(pairs),
        ),
    ]


def _label_sheet(found: Audit) -> Sheet | None:
    if found.labels is None:
        return None
    issues, classes = found.labels, found.dataset.classes
    notes = [
        f"looks {classes[label]} ({confidence:.0%})"
        for label, confidence in zip(issues.suggested.tolist(), issues.confidence.tolist(), strict=True)
    ]
    text = (
        "The label, and what a classifier that never saw the picture finds in it. It agrees with "
        f"{issues.accuracy:.1%} of all labels; believe your eyes."
    )
    rows = _singles(issues.rows[:MOST])
    return _draw(found, "labels", "Labels that are likely wrong", text, rows, notes=notes, total=len(issues.rows))


def _singles(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return list(rows[:, None])


def _extreme(found: Audit, sign: int) -> list[NDArray[np.int64]]:
    """The twelve darkest (1) or brightest (-1) images that are not blank."""
    rows = np.setdiff1d(found.survey.usable, found.blank)
    return _singles(rows[np.argsort(sign * found.measures.brightness[rows], kind="stable")[:12]])


def _draw(
    found: Audit,
    key: str,
    title: str,
    text: str,
    sets: Sequence[NDArray[np.int64]],
    *,
    notes: Sequence[str] = (),
    total: int | None = None,
) -> Sheet | None:
    """A sheet of these sets of rows, evenly chosen where there are too many; None where there are none."""
    if not sets:
        return None
    chosen = np.unique(np.linspace(0, len(sets) - 1, min(MOST, len(sets))).astype(np.int64))
    if key == "large":
        chosen = np.arange(min(12, len(sets)))
    shown = [_spread(found, sets[place]) for place in chosen.tolist()]
    texts = [notes[place] if notes else "" for place in chosen.tolist()]
    tiles = _tiles(found, np.concatenate(shown))
    parts: list[tuple[Tile, ...]] = []
    for rows, note in zip(shown, texts, strict=True):
        made = [next(tiles) for _ in rows]
        parts.append((*made[:-1], Tile(**{**vars(made[-1]), "note": note})))
    more = tuple(len(sets[place]) - len(rows) for place, rows in zip(chosen.tolist(), shown, strict=True))
    return Sheet(key, title, text, tuple(parts), more, len(sets) if total is None else total)


def _spread(found: Audit, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to `MOST_IN_SET` rows of a set: one of each split and label first."""
    kinds = np.stack([found.dataset.splits[rows], found.dataset.labels[rows].astype(np.str_)])
    first = np.sort(np.unique(kinds, axis=1, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(rows)), first)
    return np.asarray(rows[np.concatenate([first, others])[:MOST_IN_SET]], np.int64)


def _tiles(found: Audit, rows: NDArray[np.int64]) -> Iterator[Tile]:
    """The pictures of these rows, one after the other."""
    shapes = found.survey.shapes[rows]
    side = 48 if int(shapes[:, :2].max(initial=0)) <= 64 else 96
    faces = found.dataset.take(rows).load(InputSpec(side, 3), cache=False)
    for image, label, split, name in zip(faces.images, faces.labels, faces.splits, faces.names, strict=True):
        called = found.dataset.classes[int(label)] if label >= 0 else ""
        yield Tile(_address(image), called, str(split), str(name))


def _address(image: Image) -> str:
    """A picture, uint8 (height, width, 3) RGB, as an address that holds it."""
    pixels = image[..., 0] if is_grey(image) else image[..., ::-1]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise DataError("a picture cannot be written as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
