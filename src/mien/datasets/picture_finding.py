"""Which of a dataset's pictures the rows of a table name: nothing outside the folder or archive is ever read."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from itertools import takewhile

from mien.datasets.file_rows import FileTable, Row
from mien.datasets.splits import path_split, word_split
from mien.datasets.storage import base_name
from mien.errors import DataError, listing
from mien.images import is_image_name

Fold = Callable[[str], str]


class NoneThereError(DataError):
    """Not one of the files that a table names can be found: it may belong to other pictures."""


def find_pictures(tables: Sequence[FileTable], names: Sequence[str]) -> list[tuple[FileTable, Finder]]:
    """Those tables of whose rows at least one names a picture that is there, each with what finds them.

    Raises:
        NoneThereError: there are no pictures of any.
    """
    found = [(table, Finder(names, table)) for table in tables]
    there = [(table, finder) for table, finder in found if finder.any_found()]
    there = there or [(table, moved) for table, _ in found if (moved := _moved(names, table)) is not None]
    if not there:
        raise _none_there(found)
    return there


def _none_there(tables: Sequence[tuple[FileTable, Finder]]) -> NoneThereError:
    names = [table.name for table, _ in tables]
    missing = [f"{row.where} ({finder.find(row)})" for table, finder in tables for row in table.rows]
    if not missing:
        problems = [problem for table, _ in tables for problem in table.problems]
        return NoneThereError("no rows that can be used", problems or names)
    return NoneThereError(
        f"no file that {listing(names)} names can be found; they are looked for from the table's folder, and in the "
        "folders in it",
        missing,
    )


def _moved(names: Sequence[str], table: FileTable) -> Finder | None:
    """What finds the pictures of a table whose paths are those of another machine (``C:/faces/train/1.png``).

    As few as will do of the folders with which all its paths begin are left off. More than half of its files must be
    there then, so that no table is taken for one of other pictures.
    """
    folders = zip(*(_plain(row.file).split("/")[:-1] for row in table.rows), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, folders)]
    for count in range(1, len(shared) + 1):
        finder = Finder(names, table, "/".join(shared[:count]) + "/")
        if 2 * sum(not isinstance(finder.find(row), str) for row in table.rows) > len(table.rows):
            return finder
    return None


class Finder:
    """Which of the dataset's pictures a table's rows name.

    Args:
        names: the pictures, relative to the root.
        table: its folder and split tell files of one name apart.
        without: what is left off in front of each of its paths.
    """

    def __init__(self, names: Sequence[str], table: FileTable, without: str = "") -> None:
        self.without = without
        self._names = names
        self._table = table
        self._folder = posixpath.dirname(table.name)
        wanted = {base_name(_plain(row.file)).casefold() for row in table.rows}
        self._places: dict[str, list[int]] = {}
        self._whole: dict[str, int] = {}
        self._near: dict[tuple[str, Fold], dict[str, list[int]]] = {}
        self._several: dict[tuple[str, str], str] = {}
        for place, name in enumerate(names):
            base = base_name(name).casefold()
            for key in {base, _without_ending(base)} & wanted:
                self._places.setdefault(key, []).append(place)
                self._whole[name] = place

    def any_found(self) -> bool:
        """Whether a single row's file is there."""
        return any(not isinstance(self.find(row), str) for row in self._table.rows)

    def find(self, row: Row) -> int | str:
        """The place of a row's picture among the names, or why there is none.

        It is the file of that path, from the table's folder; else the one below, or below the root, whose path ends so;
        else one whose path differs in capital letters or, where the row has none, in having an ending.
        """
        path = _plain(row.file).removeprefix(self.without)
        if (whole := self._whole.get(self._from_folder(path))) is not None:
            return whole
        if (several := self._several.get((path, row.split))) is not None:
            return several
        fitting = next(filter(None, (self._fitting(path, fold) for fold in _FOLDS)), [])
        if len(fitting) > 1:
            fitting = self._below(fitting) or fitting
        if len(fitting) > 1:
            fitting = self._of_split(fitting, row) or fitting
        if len(fitting) > 1:
            told = f"{row.file} stands in several folders: {listing([self._names[place] for place in fitting])}"
            return self._several.setdefault((path, row.split), told)
        return fitting[0] if fitting else f"{row.file} is not there"

    def _fitting(self, path: str, fold: Fold) -> list[int]:
        """Pictures whose path is this one, from the table's folder, once both are folded; else those that end so."""
        exact, end = fold(self._from_folder(path)), fold(posixpath.normpath(path))
        folded = [(place, fold(self._names[place])) for place in self._candidates(path, (exact, end), fold)]
        fitting = [place for place, name in folded if name == exact]
        return fitting or [place for place, name in folded if f"/{name}".endswith(f"/{end}")]

    def _candidates(self, path: str, wanted: Sequence[str], fold: Fold) -> list[int]:
        """Pictures of a path's base name in a folder of the name that is wanted: thousands of people have a ``1.png``.

        All of them, where no folder is wanted.
        """
        base = base_name(path).casefold()
        alike = self._places.get(base, [])
        if len(alike) < 2 or not all("/" in one for one in wanted):
            return alike
        if (base, fold) not in self._near:
            near = self._near.setdefault((base, fold), {})
            for place in alike:
                near.setdefault(_last_two(fold(self._names[place])), []).append(place)
        tails = dict.fromkeys(map(_last_two, wanted))
        return sorted(place for tail in tails for place in self._near[base, fold].get(tail, []))

    def _from_folder(self, path: str) -> str:
        """A path from the root, where it is one from the table's folder."""
        return posixpath.normpath(f"{self._folder}/{path}" if self._folder and path[:1] != "/" else path)

    def _below(self, places: Sequence[int]) -> list[int]:
        start = f"{self._folder}/" if self._folder else ""
        return [place for place in places if self._names[place].startswith(start)]

    def _of_split(self, places: Sequence[int], row: Row) -> list[int]:
        split = word_split(row.split) if row.split else self._table.split
        return [place for place in places if split and path_split(self._names[place]) == split]


def _plain(path: str) -> str:
    """A path with the slashes of all systems but Windows, and without ``./`` in front."""
    return path.replace("\\", "/").removeprefix("./")


def _without_ending(name: str) -> str:
    return name.rpartition(".")[0] if is_image_name(name) else name


def _last_two(path: str) -> str:
    """A path's base name and the folder that it lies in."""
    return "/".join(path.split("/")[-2:])


_FOLDS: tuple[Fold, ...] = (str, str.casefold, lambda name: _without_ending(name.casefold()))
"""How a row's path and a picture's are made alike, the strictest first."""
