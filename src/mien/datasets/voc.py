"""Pascal VOC's boxes: an XML file for each picture, beside it or in ``Annotations``.

``ImageSets/Main/train.txt`` and others like it say the splits, where they are there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from mien.datasets.box_rows import Boxes, BoxIndex, BoxRow, clip, index_boxes
from mien.datasets.class_names import NAMES_FILE, ReadFn, read_names
from mien.datasets.splits import word_split
from mien.datasets.storage import Listing, ManyFn, base_name
from mien.datasets.tables import RowError
from mien.errors import DataError, many
from mien.labels import canonical

FOLDERS = ("annotations", "annotation")
"""Folders of XML files, in lower case."""

SETS = ("train", "val", "test")
"""Files of ``ImageSets/Main`` that are read."""

PROBES = 50
"""So many pictures are looked at to see whether XML files stand beside them."""

MAX_BYTES = 4 * 1024**2
"""Larger XML files are refused."""


def read_voc(
    listing: Listing, read_fn: ReadFn, many_fn: ManyFn, classes: Sequence[str] | None, root_name: str
) -> BoxIndex | None:
    """Understand a listing as Pascal VOC's; None where no XML files stand beside its pictures.

    Raises:
        DataError: a class that is none, or no box that can be used.
    """
    folders = [folder for folder in listing.folders if base_name(folder).lower() in FOLDERS]
    places = {at: list(_places(name, folders)) for at, name in enumerate(listing.names)}
    some = [place for at in list(places)[:: max(1, len(places) // PROBES)] for place in places[at]]
    if not places or not many_fn(some):
        return None
    data = many_fn([place for ways in places.values() for place in ways])
    found = Boxes("Pascal VOC", [])
    splits = dict(_set_splits(listing.folders, read_fn))
    without = 0
    for at, ways in places.items():
        place = next((place for place in ways if place in data), None)
        before = len(found.rows) + len(found.problems)
        if place is not None:
            stem = posixpath.splitext(base_name(listing.names[at]))[0]
            for row in read_xml(data[place], place, listing.names[at], found.problems):
                found.rows.append(replace(row, split=splits.get(stem, "")))
                found.places.append(at)
        without += before == len(found.rows) + len(found.problems)
    if not found.rows:
        if found.problems:
            raise DataError("no box can be used", found.problems)
        return None
    found = replace(found, passed=f"{many(without, 'picture')} without a box") if without else found
    listed = read_names(NAMES_FILE, read_fn) if classes is None else tuple(map(canonical, classes))
    return index_boxes(found, listing.names, listed, root_name)


def _places(name: str, folders: Iterable[str]) -> Iterator[str]:
    """Where a picture's XML file may stand: beside it, and in a folder beside one of its own."""
    stem = posixpath.splitext(name)[0]
    yield f"{stem}.xml"
    for folder in folders:
        above = posixpath.dirname(folder)
        if not above or stem.startswith(f"{above}/"):
            within = stem.removeprefix(f"{above}/" if above else "").split("/")[1:]
            yield from dict.fromkeys((f"{folder}/{'/'.join(within)}.xml", f"{folder}/{base_name(stem)}.xml"))


def _set_splits(folders: Iterable[str], read_fn: ReadFn) -> Iterator[tuple[str, str]]:
    """The split of each picture, by its name without ending, that a file of ``ImageSets`` names."""
    for folder in folders:
        if base_name(folder).lower() == "imagesets":
            for split in SETS:
                data = read_fn(f"{folder}/Main/{split}.txt") or read_fn(f"{folder}/{split}.txt")
                for line in (data or b"").decode("utf-8-sig", "replace").splitlines():
                    if line.split():
                        yield line.split()[0], word_split(split) or ""


def read_xml(data: bytes, name: str, picture: str, problems: list[str]) -> Iterator[BoxRow]:
    """Read the boxes of one picture.

    Args:
        data: the XML file's bytes.
        name: what it is called.
        picture: whose it is.
        problems: gets those that cannot be used, each with its reason.
    """
    try:
        root = _parse(data)
    except RowError as error:
        problems.append(f"{name} ({error})")
        return
    size = (_length(root, "size/width"), _length(root, "size/height"))
    for number, entry in enumerate(root.findall("object"), start=1):
        where = f"{name}: object {number}"
        try:
            yield _row(entry, where, picture, size if all(size) else (0, 0))
        except RowError as error:
            problems.append(f"{where} ({error})")


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree of XML without a document type, and so without entities of its own."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called where one begins."""
        del name, pubid, system
        raise RowError("has a DOCTYPE, which files of boxes need not have")


def _parse(data: bytes) -> ElementTree.Element:
    if len(data) > MAX_BYTES:
        raise RowError(f"larger than {MAX_BYTES // 1024**2} MiB")
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 (entities need a DOCTYPE, which is refused)
    try:
        parser.feed(data)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RowError(f"is no XML: {error}") from None
    return root


def _length(root: ElementTree.Element, path: str) -> int:
    """A side of the picture in pixels, 0 where it is unknown."""
    text = (root.findtext(path) or "").strip()
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _row(entry: ElementTree.Element, where: str, picture: str, size_wh: tuple[int, int]) -> BoxRow:
    """One object; the first pixel of a row is 1 in these files.

    Raises:
        RowError: it has no name, or no box.
    """
    word = (entry.findtext("name") or "").strip()
    if not word:
        raise RowError("has no name")
    try:
        x1, y1, x2, y2 = (float(entry.findtext(f"bndbox/{edge}") or "") for edge in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        raise RowError("has no bndbox of four numbers") from None
    width, height = (float(side) if side else float("inf") for side in size_wh)
    return BoxRow(where, picture, word, box=clip((x1 - 1, y1 - 1, x2, y2), width, height), size_wh=size_wh)
