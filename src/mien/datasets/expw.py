"""ExpW as its makers hand it out: ``label.lst`` names pictures, faces in them and their expressions.

A line is ``angry_actor_104.jpg 0 28 113 226 141 22.9362 0``: picture, number of the face in it, upper, left, right and
lower edge of its box in pixels, the detector's confidence, and the expression. The pictures are in ``origin``.
"""

from __future__ import annotations

from mien.datasets.box_rows import Boxes, BoxIndex, BoxRow, UnusableError, clip, index_boxes, place_rows
from mien.datasets.class_names import ReadFn
from mien.datasets.file_rows import FileTable
from mien.datasets.schemes import EXPW
from mien.datasets.storage import Listing, base_name
from mien.datasets.tables import RowError, whole_number
from mien.errors import DataError, many

LIST = "label.lst"

FIELDS = 8
"""Of a line."""


def read_expw(listing: Listing, read_fn: ReadFn, root_name: str) -> BoxIndex | None:
    """Understand a listing as ExpW, by its list; None where there is none.

    Raises:
        UnusableError: no line is one of ExpW's.
        DataError: several lists, numbers that are not ExpW's, or no pictures.
    """
    lists = [(name, data) for name in listing.notes if base_name(name) == LIST and (data := read_fn(name)) is not None]
    if not lists:
        return None
    if len(lists) > 1:
        raise DataError("several lists of ExpW; name the folder of one of them", [name for name, _ in lists])
    ((name, data),) = lists
    rows, problems = read_lines(data, name)
    if not rows:
        raise UnusableError(
            f"no line is one of ExpW's ({FIELDS} fields), which names a box and an expression", problems
        )
    found = Boxes("ExpW", [name], problems=problems, scheme=EXPW)
    place_rows(found, [(FileTable(name, list(rows), [], EXPW), rows)], listing.names)
    return index_boxes(found, listing.names, None, root_name)


def read_lines(data: bytes, name: str) -> tuple[list[BoxRow], list[str]]:
    """Read the list.

    Args:
        data: its bytes.
        name: what messages call it.

    Returns:
        A row for each line, and those that cannot be used, each with its reason.
    """
    rows: list[BoxRow] = []
    problems: list[str] = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        where = f"{base_name(name)}:{number}"
        try:
            if line.strip():
                rows.append(_row(line, where))
        except RowError as error:
            problems.append(f"{where} ({error})")
    return rows, problems


def _row(line: str, where: str) -> BoxRow:
    fields = line.strip().rsplit(maxsplit=FIELDS - 1)
    if len(fields) < FIELDS:
        raise RowError(f"{many(len(fields), 'field')} where {FIELDS} are expected")
    try:
        upper, left, right, lower = (float(text) for text in fields[2:6])
    except ValueError:
        raise RowError("its box holds something other than numbers") from None
    box = clip((left, upper, right, lower), float("inf"), float("inf"))
    return BoxRow(where, fields[0], whole_number(fields[7]), box=box)
