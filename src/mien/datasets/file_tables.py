"""Tables of files: each row names a picture beside the table, and what it shows.

A row's file is one of the dataset's pictures: nothing outside the folder or archive is ever read. Classes are names;
numbers only where a file ``classes.txt`` or a known dataset (`mien.datasets.schemes.Scheme`) says what they mean.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mien.config import FerPlus
from mien.datasets.class_columns import WITHOUT
from mien.datasets.class_names import NAMES_FILE, ReadFn, guess, is_text, known_classes, names_by_number, read_names
from mien.datasets.file_rows import FileTable, OpenFn, Row, read_table
from mien.datasets.origins import with_column
from mien.datasets.picture_finding import Finder, find_pictures
from mien.datasets.schemes import Scheme
from mien.datasets.splits import FOLDER_NAMES, USAGES, path_split, word_split
from mien.datasets.storage import Listing, base_name, encode_names
from mien.datasets.tree import Index
from mien.datasets.votes import soft_targets, voted
from mien.errors import DataError, listing, many
from mien.labels import EXPRESSIONS, canonical, class_order

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def read_file_tables(
    listing_: Listing,
    names: Sequence[str],
    open_fn: OpenFn,
    classes: Sequence[str] | None = None,
    read_fn: ReadFn = lambda _: None,
    mode: FerPlus = "none",
) -> Index | None:
    """Understand tables as lists of the pictures that stand beside them.

    Args:
        listing_: the pictures.
        names: tables to look at, relative to the root.
        open_fn: opens one of them.
        classes: the class names there may be; None: as `NAMES_FILE` beside the table says, if it does.
        read_fn: reads `NAMES_FILE`.
        mode: which votes count, where columns hold people's (`mien.datasets.votes`).

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
    return build_index(there, listed, listing_.names, mode)


def _is_of_folders(rows: Sequence[Row], folders: set[str]) -> bool:
    """Whether a table lists what numbers mean (``0,tired``), each a folder's name or that of a folder's class."""
    once = 1 < len(rows) == len({row.word for row in rows})
    return once and all(row.file.isdecimal() and not folders.isdisjoint((row.file, row.word)) for row in rows)


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
    tables: Sequence[tuple[FileTable, Finder]],
    listed: Sequence[str] | None,
    names: Sequence[str],
    mode: FerPlus = "none",
) -> Index:
    """Put the rows of tables that belong together into one index, in the order of the pictures' names.

    Args:
        tables: each with what finds its pictures.
        listed: the class names there may be, in order, where something lists them.
        names: the pictures.
        mode: which votes count, where columns hold people's.

    Raises:
        DataError: a class that is none, numbers that nothing names; no votes, where they are to count.
    """
    tables = [(_counted(table, finder, names, mode), finder) for table, finder in tables]
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
    also = {canonical(column) for row in rows if mode != "none" for column, _ in row.votes if column not in WITHOUT}
    classes = ordered_classes({name for name in meaning.values() if name} | also, scheme, listed)
    index = _index(found, meaning, classes, names, told)
    if mode != "distribution":
        return index
    ordered = [found.rows[place] for place in sorted(found.rows)]
    return replace(index, targets=soft_targets(ordered, index.labels, index.splits.tolist(), classes))


def _counted(table: FileTable, finder: Finder, names: Sequence[str], mode: FerPlus) -> FileTable:
    """A table with the classes that its votes give.

    Raises:
        DataError: votes are to count, and there are none.
    """
    if mode == "none":
        return table
    if not any(row.votes for row in table.rows):
        raise DataError(
            "ferplus: votes are to count, and there are no columns of votes or shares that are called like expressions "
            "(path,angry,happy,sad)",
            [table.name],
        )
    rows = []
    for row in table.rows:
        place = finder.find(row)
        split = _split_of(row, table, "" if isinstance(place, str) else names[place])
        rows.append(voted(row, mode, split or ""))
    return replace(table, rows=rows)


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
    if classes != EXPRESSIONS and not any(row.votes for row in found.rows.values()):
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
        way = "; where the first is 1, write a number in front of each name (1 happy)"
        known += way if listed and "0" not in words else ""
        raise DataError(f"numbers without a name; by {told} they are {known}", _named(rows, unknown))
    return meaning if listed is not None else {word: meaning[word] for word in words}


def _named(rows: Sequence[Row], words: set[str]) -> list[str]:
    """The rows with one of these classes, in words."""
    return [f"{row.where} ({row.word})" for row in rows if row.word in words]
