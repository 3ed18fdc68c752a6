"""What the numbers of YOLO's classes mean: ``names`` in a YAML file, or a text file with a name on each line."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mien.datasets.class_names import NAMES_FILE, ReadFn, names_by_number
from mien.datasets.splits import FOLDER_NAMES, folder_split, long_split
from mien.datasets.storage import Listing
from mien.errors import DataError, MissingExtraError
from mien.labels import canonical

YAML_ENDINGS = (".yaml", ".yml")

TEXT_ENDINGS = (".names", ".labels")
"""Of files with a name on each line, as Darknet and Roboflow call them: ``obj.names``, ``_darknet.labels``."""

LIST_ENDING = ".txt"
"""Of files that name the pictures of a split, one a line."""

MAX_YAML_BYTES = 1024**2
"""Larger YAML files are none that names classes."""


@dataclass(frozen=True)
class Names:
    """What numbers of classes mean.

    Attributes:
        source: the file that says it, "" for none.
        words: number to name, as it is written there.
        listed: the class names there may be, in order, as `NAMES_FILE` says; None where only what is used counts.
        folders: folders of pictures, relative to the root, to their splits.
        poses: whether points of a pose follow each box.
        lists: files that name pictures, one a line, relative to the root, to their splits; they need not be there.
        lost: whether it names folders of splits, and none of them is there.
    """

    source: str
    words: Mapping[int, str]
    listed: tuple[str, ...] | None = None
    folders: Mapping[str, str] = field(default_factory=dict)
    poses: bool = False
    lists: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False

    def among(self, there: Collection[str]) -> Names:
        """With folders that are not there, as those of another machine, found by the ends of their paths.

        Of ``/home/anna/faces/one/images`` the longest end that just one folder's path has too counts, ``one/images``
        rather than ``images``; not where it is that of two splits.

        Args:
            there: the folders of pictures, and those above them, relative to the root.
        """
        found = {place: place if place in there else _by_end(place, there) for place in self.folders}
        splits: dict[str, set[str]] = {}
        for place, folder in found.items():
            splits.setdefault(folder, set()).add(self.folders[place])
        alone = {folder: min(one) for folder, one in splits.items() if folder and len(one) == 1}
        lost = bool(self.folders) and not alone
        return replace(self, folders={one: alone[one] for one in alone if not _says_split(one)}, lost=lost)

    def split_of(self, picture: str) -> str:
        """The split that the file gives a picture's folder, "" where the folders' own names are to say it."""
        return next((split for folder, split in self.folders.items() if picture.startswith(f"{folder}/")), "")


def find_names(listing: Listing, read_fn: ReadFn, labels: Iterable[str]) -> Names | None:
    """What says the classes' names: a YAML file, the least deep in folders first; else a text file.

    Args:
        listing: the files.
        read_fn: reads them.
        labels: folders of text files, in which `NAMES_FILE` may stand.

    Raises:
        MissingExtraError: PyYAML is not installed.
        DataError: several files say it in different words.
    """
    told, texts = list(_in_yaml(listing, read_fn)), list(_in_text(listing, read_fn, labels))
    found = told or [one for one in texts if one.listed] or texts
    if any(dict(one.words) != dict(found[0].words) for one in found):
        raise DataError(
            "several files say different names of YOLO's classes; name the folder of one dataset",
            [one.source for one in found],
        )
    listed = next((one.listed for one in texts if one.listed), None)
    return replace(found[0].among(_above(listing.names)), listed=listed) if found else None


def _in_yaml(listing: Listing, read_fn: ReadFn) -> Iterator[Names]:
    files = [name for name in listing.notes if name.lower().endswith(YAML_ENDINGS)]
    for name in sorted(files, key=lambda name: (name.count("/"), name)):
        data = read_fn(name)
        if data is not None and (names := read_yaml(data, name)) is not None:
            yield names


def _in_text(listing: Listing, read_fn: ReadFn, labels: Iterable[str]) -> Iterator[Names]:
    """Names in text files: beside the pictures, their folders and those of labels, and above them."""
    folders = {"", *labels, *(posixpath.dirname(name) for name in listing.names)}
    folders |= {posixpath.dirname(folder) for folder in folders}
    files = [*(posixpath.join(folder, NAMES_FILE) for folder in folders)]
    files += [name for name in listing.notes if name.lower().endswith(TEXT_ENDINGS)]
    for name in sorted(files, key=lambda name: (name.count("/"), name)):
        data = read_fn(name)
        lines = [] if data is None else data.decode("utf-8-sig", "replace").splitlines()
        words = [line.strip() for line in lines if line.strip()]
        if words:
            told = names_by_number(words)
            listed = tuple(dict.fromkeys(map(canonical, told.values())))
            beside = {posixpath.join(posixpath.dirname(name), f"{word}.txt"): word for word in FOLDER_NAMES}
            lists = {place: FOLDER_NAMES[word] for place, word in beside.items()}
            yield Names(name, told, listed if posixpath.basename(name) == NAMES_FILE else None, lists=lists)


def read_yaml(data: bytes, name: str) -> Names | None:
    """Read ``names``, a list or a mapping of numbers, and the folders of ``train``, ``val`` and ``test``.

    Args:
        data: the file's bytes.
        name: what it is called, relative to the root.

    Returns:
        What it says; None where it names no classes, or is no YAML.

    Raises:
        MissingExtraError: PyYAML is not installed.
    """
    document = _parse(data) if len(data) <= MAX_YAML_BYTES else None
    given = document.get("names") if isinstance(document, dict) else None
    pairs = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(document, dict) or not isinstance(pairs, dict) or not pairs:
        return None
    texts = {str(number): word for number, word in pairs.items() if isinstance(word, str) and word.strip()}
    if len(texts) < len(pairs) or not all(number.isdecimal() and len(number) < 10 for number in texts):
        return None
    words = {int(number): word.strip() for number, word in texts.items()}
    places = dict(reversed(list(_places(document, posixpath.dirname(name)))))  # of one in two splits, the first counts
    lists = {place: split for place, split in places.items() if place.lower().endswith(LIST_ENDING)}
    folders = {place: split for place, split in places.items() if place not in lists}
    return Names(name, words, folders=folders, poses="kpt_shape" in document, lists=lists)


def _above(names: Iterable[str]) -> set[str]:
    """The folders of files, and those above them."""
    found: set[str] = set()
    for folder in {posixpath.dirname(name) for name in names}:
        while folder and folder not in found:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found


def _by_end(place: str, there: Collection[str]) -> str:
    """The folder whose path has the longest end of this one; "" where there is none, or are several."""
    parts = place.strip("/").split("/")
    for start in range(len(parts)):
        end = "/" + "/".join(parts[start:])
        found = [folder for folder in there if f"/{folder}".endswith(end)]
        if found:
            return found[0] if len(found) == 1 else ""
    return ""


def _parse(data: bytes) -> Any:
    """A YAML document of nothing but texts, lists and mappings; None where it is no YAML."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(f"class names in a YAML file ({NAMES_FILE} will do instead)", "audit") from error
    try:
        return yaml.load(data, Loader=yaml.BaseLoader)  # noqa: S506 (it makes no other objects)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError, ValueError):
        return None


def _says_split(folder: str) -> bool:
    return any(folder_split(part) or long_split(part) for part in folder.split("/"))


def _places(document: Mapping[str, Any], beside: str) -> Iterator[tuple[str, str]]:
    """Folders and lists of splits, below ``path`` too; ``../`` in front, which Roboflow writes, leads nowhere."""
    above = document.get("path")
    for key, split in FOLDER_NAMES.items():
        given = document.get(key)
        for path in given if isinstance(given, list) else [given]:
            if isinstance(path, str):
                yield from _place(beside, _inwards(path), split)
                if isinstance(above, str):
                    yield from _place(beside, posixpath.join(_inwards(above), _inwards(path)), split)


def _inwards(path: str) -> str:
    plain = path.replace("\\", "/")
    while plain.startswith(("./", "../")):
        plain = plain.partition("/")[2]
    return plain


def _place(beside: str, path: str, split: str) -> Iterator[tuple[str, str]]:
    place = posixpath.normpath(posixpath.join(beside, path))
    if place.endswith(LIST_ENDING) and path.startswith("/"):  # of another machine: it may stand beside the YAML file
        place = posixpath.join(beside, posixpath.basename(place))
    if place not in (".", "/") and not place.startswith(".."):
        yield place, split
