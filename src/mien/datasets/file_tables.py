"""Tables of files: each row names a picture beside the table, and what it shows.

A row's file is one of the dataset's pictures: nothing outside the folder or archive is ever read. Classes are names;
numbers only where a file ``classes.txt`` or a known dataset (`mien.datasets.schemes.Scheme`) says what they mean.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from mien.datasets.class_names import NAMES_FILE, ReadFn, guess, is_text, known_classes, names_by_number, read_names
from mien.datasets.file_rows import FileTable, OpenFn, Row, read_table
from mien.datasets.origins import with_column
from mien.datasets.schemes import Scheme
from mien.datasets.splits import FOLDER_NAMES, USAGES, path_split, word_split
from mien.datasets.storage import Listing, base_name, encode_names
from mien.datasets.tree import Index
from mien.errors import DataError, listing, many
from mien.images import is_image_name
from mien.labels import EXPRESSIONS, canonical, class_order

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


class NoneThereError(DataError):
    """Not one of the files that a table names can be found: it may belong to other pictures."""


def read_file_tables(
    listing_: Listing,
    names: Sequence[str],
    open_fn: OpenFn,
    classes: Sequence[str] | None = None,
    read_fn: ReadFn = lambda _: None,
) -> Index | None:
    """Understand tables as lists of the pictures that stand beside them.

    Args:
        listing_: the pictures.
        names: tables to look at, relative to the root.
        open_fn: opens one of them.
        classes: the class names there may be; None: as `NAMES_FILE` beside the table says, if it does.
        read_fn: reads `NAMES_FILE`.

    Returns:
        The index, or None where none of them is a table of files.

    Raises:
        NoneThereError: there are tables of files, and none of their files.
        DataError: several that do not belong together, an unknown class, numbers that nothing names, a broken table.
    """
    read = [table for name in names if (table := read_table(name, open_fn)) is not None]
    folders = {base_name(folder) for folder in listing_.folders}
    tables = [table for table in read if not _is_of_folders(table.rows, folders)]
    if not tables:
        return None
    there = find_pictures(tables, listing_.names)
    _check_together([table for table, _ in there])
    folder = posixpath.dirname(there[0][0].name)
    listed = tuple(map(canonical, classes)) if classes is not None else listed_names(folder, read_fn)
    return build_index(there, listed, listing_.names)


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


def _is_of_folders(rows: Sequence[Row], folders: set[str]) -> bool:
    """Whether a table lists what numbers mean (``0,tired``), each a folder's name or that of a folder's class."""
    once = 1 < len(rows) == len({row.word for row in rows})
    return once and all(row.file.isdecimal() and not folders.isdisjoint((row.file, row.word)) for row in rows)


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


def listed_names(folder: str, read_fn: ReadFn) -> tuple[str, ...] | None:
    """The class names in a file beside the table or, without one, at the top."""
    beside = read_names(posixpath.join(folder, NAMES_FILE), read_fn)
    return beside if beside is not None or not folder else read_names(NAMES_FILE, read_fn)


def _check_together(tables: Sequence[FileTable]) -> None:
    """Several tables belong together where each has a split of its own: ``train.csv`` and ``val.csv``."""
    splits = [table.split for table in tables]
    if len(tables) > 1 and (None in splits or len(set(splits)) < len(splits)):
        names = [table.name for table in tables]
        raise DataError("several tables of files, whose names do not tell train, val and test apart; name one", names)


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
        candidates = self._places.get(base_name(path).casefold(), [])
        fitting = next(filter(None, (self._fitting(path, candidates, fold) for fold in _FOLDS)), [])
        if len(fitting) > 1:
            fitting = self._below(fitting) or fitting
        if len(fitting) > 1:
            fitting = self._of_split(fitting, row) or fitting
        if len(fitting) > 1:
            return f"{row.file} stands in several folders: {listing([self._names[place] for place in fitting])}"
        return fitting[0] if fitting else f"{row.file} is not there"

    def _fitting(self, path: str, candidates: Sequence[int], fold: Callable[[str], str]) -> list[int]:
        """Candidates whose path is this one, from the table's folder, once both are folded; else those that end so."""
        exact = self._from_folder(path)
        folded = [(place, fold(self._names[place])) for place in candidates]
        fitting = [place for place, name in folded if name == fold(exact)]
        ending = "/" + fold(posixpath.normpath(path))
        return fitting or [place for place, name in folded if f"/{name}".endswith(ending)]

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


_FOLDS: tuple[Callable[[str], str], ...] = (str, str.casefold, lambda name: _without_ending(name.casefold()))
"""How a row's path and a picture's are made alike, the strictest first."""


@dataclass
class _Found:
    """The rows whose pictures are there, by the picture's place in the listing, and what is wrong with the others."""

    rows: dict[int, Row] = field(default_factory=dict)
    splits: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, row: Row, place: int | str, split: str | None) -> None:
        """Take a row in, or say why it cannot be used."""
        if isinstance(place, str):
            self.problems.append(f"{row.where} ({place})")
        elif place in self.rows:
            self.problems.append(f"{row.where} ({row.file} stands in {self.rows[place].where} too)")
        elif split is None:
            allowed = ", ".join(sorted({*USAGES, *FOLDER_NAMES}))
            self.problems.append(f"{row.where} (unknown split {row.split[:20]!r}; allowed are {allowed})")
        else:
            self.rows[place], self.splits[place] = row, split


def build_index(
    tables: Sequence[tuple[FileTable, Finder]], listed: Sequence[str] | None, names: Sequence[str]
) -> Index:
    """Put the rows of tables that belong together into one index, in the order of the pictures' names.

    Args:
        tables: each with what finds its pictures.
        listed: the class names there may be, in order, where something lists them.
        names: the pictures.

    Raises:
        DataError: a class that is none, numbers that nothing names.
    """
    rows = [row for table, _ in tables for row in table.rows]
    scheme = tables[0][0].scheme if len({table.scheme for table, _ in tables}) == 1 else None
    meaning = {"": "", **class_names([table.name for table, _ in tables], rows, scheme, listed)}
    passed = sum(not meaning[row.word] for row in rows)
    found = _Found(problems=[problem for table, _ in tables for problem in table.problems])
    for table, finder in tables:
        for row in table.rows:
            if meaning[row.word]:
                place = finder.find(row)
                found.add(row, place, _split_of(row, table, "" if isinstance(place, str) else names[place]))
    words = scheme.name if scheme else "table of files"
    told = f"{words} ({many(passed, 'row')} without an expression passed over)" if passed else words
    if any(finder.without for _, finder in tables):
        told += ", found by the ends of its paths"
    classes = ordered_classes({name for name in meaning.values() if name}, scheme, listed)
    return _index(found, meaning, classes, names, told)


def _split_of(row: Row, table: FileTable, name: str) -> str | None:
    """The split of a row: as it says, else as its table is called, else by where its picture stands."""
    return word_split(row.split) if row.split else table.split or path_split(name)


def ordered_classes(present: set[str], scheme: Scheme | None, listed: Sequence[str] | None) -> tuple[str, ...]:
    """The classes in order: the seven where all are of them; else as listed, of the known dataset, or as there are."""
    if present <= set(EXPRESSIONS):
        return EXPRESSIONS
    if listed is not None:
        return tuple(dict.fromkeys(names_by_number(listed).values()))
    return class_order(set(scheme.names.values()) if scheme else present)


def _index(
    found: _Found, meaning: Mapping[str, str], classes: tuple[str, ...], names: Sequence[str], words: str
) -> Index:
    places = sorted(found.rows)
    labels = [meaning[found.rows[place].word] for place in places]
    splits = [found.splits[place] for place in places]
    if classes != EXPRESSIONS:
        check_agreement(labels, splits, [found.rows[place].where for place in places])
    return Index(
        format=words,
        classes=classes,
        keys=encode_names([names[place] for place in places]),
        labels=np.array([classes.index(label) for label in labels], np.int64),
        splits=np.array(splits, "U7"),
        problems=tuple(found.problems),
        origins=with_column([found.rows[place].origin for place in places], [names[place] for place in places]),
    )


def check_agreement(labels: Sequence[str], splits: Sequence[str], wheres: Sequence[str]) -> None:
    """Own classes: one that only the test set has could never be learned."""
    training = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    unknown = [f"{where} ({label})" for label, where in zip(labels, wheres, strict=True) if label not in training]
    if training and unknown:
        raise DataError("unknown class; add it to the training split, or remove it: no row there has it", unknown)


def class_names(
    tables: Sequence[str], rows: Sequence[Row], scheme: Scheme | None, listed: Sequence[str] | None
) -> dict[str, str]:
    """What each word in the column of classes means, "" for rows to pass over; those without a word are.

    Raises:
        DataError: a class that is none, numbers that nothing names, or numbers beside names.
    """
    rows = [row for row in rows if row.word]
    words = {row.word for row in rows}
    if not all(is_text(word) for word in words):
        raise DataError("classes are not UTF-8 text; save the table as UTF-8", list(tables))
    numbers = {word for word in words if _NUMBER.fullmatch(word)}
    if numbers and numbers != words:
        fewer = min(numbers, words - numbers, key=lambda some: sum(row.word in some for row in rows))
        raise DataError("some classes are numbers and others are names; write one or the other", _named(rows, fewer))
    if numbers:
        return _names_of_numbers(tables, rows, scheme, listed)
    meaning = {word: canonical(word) for word in words}
    names = set(meaning.values())
    allowed = None if listed is None or names <= known_classes(names, None) else [*names_by_number(listed).values()]
    known = known_classes(names, allowed)
    unknown = {word for word, name in meaning.items() if name not in known}
    if unknown:
        raise DataError(
            f"unknown class{guess(sorted(unknown), known)}; the classes are {', '.join(sorted(known))}; mend or remove "
            f"these rows, or write the names of all classes, one a line, into a file {NAMES_FILE} beside the table",
            _named(rows, unknown),
        )
    return meaning


def _names_of_numbers(
    tables: Sequence[str], rows: Sequence[Row], scheme: Scheme | None, listed: Sequence[str] | None
) -> dict[str, str]:
    """What numbers mean: as listed, of numbers that no row has too, else as in the known dataset."""
    words = {row.word for row in rows}
    if listed is None and scheme is None:
        raise DataError(
            f"classes are numbers ({listing(sorted(words, key=float), 8)}), and nothing says what they mean; write a "
            f"file {NAMES_FILE} beside the table, with the name of class 0 on its first line, of class 1 on the next, "
            "or with a number in front of each name (1 happy)",
            list(tables),
        )
    names: dict[int, str] = {}
    if listed is not None:
        names = names_by_number(listed)
    elif scheme is not None:
        names = {**scheme.names, **dict.fromkeys(scheme.without, "")}
    meaning = {str(number): name for number, name in names.items()}
    unknown = words - meaning.keys()
    if unknown:
        told = NAMES_FILE if listed is not None or scheme is None else scheme.name
        known = ", ".join(f"{number} {name or 'none'}" for number, name in names.items())
        raise DataError(f"numbers without a name; by {told} they are {known}", _named(rows, unknown))
    return meaning if listed is not None else {word: meaning[word] for word in words}


def _named(rows: Sequence[Row], words: set[str]) -> list[str]:
    """The rows with one of these classes, in words."""
    return [f"{row.where} ({row.word})" for row in rows if row.word in words]
