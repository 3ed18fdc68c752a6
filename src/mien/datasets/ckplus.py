"""CK+ as its makers hand it out: pictures by person and sequence, and a number beside the last one of a sequence.

``cohn-kanade-images/S005/001/S005_001_00000011.png`` shows the peak of a sequence that begins with a neutral face;
``Emotion/S005/001/S005_001_00000011_emotion.txt`` says which expression that is. The other pictures have no label, and
are passed over. The edition in class folders (CK+48) is read by `mien.datasets.tree`.
"""

from __future__ import annotations

import posixpath
import re

from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import build_index
from mien.datasets.picture_finding import Finder
from mien.datasets.schemes import CKPLUS
from mien.datasets.storage import Listing, ManyFn, base_name
from mien.datasets.tree import Index

LABELS = "emotion"
"""The folder of the numbers, in lower case."""

_PICTURE = re.compile(r"(S[0-9]{3})_([0-9]{3})_[0-9]{8}\.[a-z]+", re.IGNORECASE)
_NUMBER = re.compile(rb"\s*([0-9])(?:\.0*(?:e\+00)?)?\s*")


def read_ckplus(listing: Listing, many_fn: ManyFn) -> Index | None:
    """Understand a listing as CK+'s sequences; None where it is something else.

    Raises:
        DataError: numbers that are not CK+'s.
    """
    folders = [folder for folder in listing.folders if base_name(folder).lower() == LABELS]
    places = {
        f"{folder}/{found[1]}/{found[2]}/{posixpath.splitext(base_name(name))[0]}_emotion.txt": name
        for name in listing.names
        for folder in folders
        if (found := _PICTURE.fullmatch(base_name(name)))
    }
    table = FileTable("", [], [], CKPLUS)
    for place, data in many_fn(list(places)).items():
        number = _NUMBER.fullmatch(data)
        if number:
            table.rows.append(Row(place, places[place], number[1].decode()))
        else:
            table.problems.append(f"{place} (holds no number such as 3.0000000e+00)")
    return build_index([(table, Finder(listing.names, table))], None, listing.names) if table.rows else None
