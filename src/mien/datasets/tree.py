"""Class-per-folder trees: which folder is a split, which a class, and whether each face has one."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mien.datasets.class_names import (
    NAMES_FILE,
    ReadFn,
    guess,
    is_expression,
    is_text,
    known_classes,
    mostly_expressions,
    names_by_number,
    read_names,
    split_number,
)
from mien.datasets.origins import Origins
from mien.datasets.splits import (
    FILE_PREFIXES,
    file_split,
    folder_split,
    folder_splits,
    is_container,
    long_split,
    table_split,
)
from mien.datasets.storage import Listing, base_name, encode_names
from mien.errors import DataError
from mien.labels import EXPRESSIONS, canonical, class_order


@dataclass(frozen=True, eq=False)
class Index:
    """What is known of a dataset before a pixel is read.

    Attributes:
        format: in words.
        classes: names in the order of the labels.
        keys: bytes (n,), what each face is called in messages; for trees its file, relative to the root.
        labels: int64 (n,), -1 where there is none.
        splits: (n,) of `mien.datasets.splits.SPLITS`.
        problems: files or rows that cannot be used, each with its reason.
        origins: which faces a column says to belong together; None where none says it.
        targets: float32 (n, classes), soft labels, or None: see `mien.datasets.Faces`.
    """

    format: str
    classes: tuple[str, ...]
    keys: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    problems: tuple[str, ...] = ()
    origins: Origins | None = None
    targets: NDArray[np.float32] | None = None


@dataclass
class _Node:
    """A folder: positions of the images in it in the listing, and the folders in it."""

    path: str
    images: array[int] = field(default_factory=lambda: array("q"))
    children: dict[str, _Node] = field(default_factory=dict)

    def walk(self) -> Iterator[int]:
        """Positions of all images in it and below."""
        yield from self.images
        for child in self.children.values():
            yield from child.walk()

    def holds_images(self) -> bool:
        return next(self.walk(), None) is not None

    def holders(self) -> dict[str, _Node]:
        """The folders in it with images somewhere in them."""
        return {name: child for name, child in self.children.items() if child.holds_images()}


@dataclass(frozen=True)
class _ClassFolder:
    node: _Node
    label: str | None
    split: str | None


def read_tree(
    listing: Listing, root_name: str, classes: Sequence[str] | None = None, read_fn: ReadFn = lambda _: None
) -> Index | None:
    """Understand a listing as a class-per-folder tree.

    Args:
        listing: the files.
        root_name: name of the folder or archive; a folder called ``test`` gives its faces that split.
        classes: the class names there may be, for sets that mix the seven expressions with others.
        read_fn: reads `NAMES_FILE`, where `classes` are not given and are needed.

    Returns:
        The index, or None where there is nothing of the kind.

    Raises:
        DataError: an unknown class, an empty class, a class without a name, several datasets side by side.
    """
    root = _find_root(_grow(listing))
    if root is None:
        return None
    folders = _without_numbers(list(_class_folders(root, root_name)))
    labels = {folder.label for folder in folders if folder.label is not None}
    if not labels or (classes is None and len(labels) == 1 and all(map(is_container, labels))):
        return None
    names_file = f"{root.path}/{NAMES_FILE}".lstrip("/")
    folders, told = _named_by_number(folders, classes, lambda: read_names(names_file, read_fn))
    named = _check_classes(folders, told or classes, lambda: read_names(names_file, read_fn))
    strays = tuple(f"{listing.names[position]} (in no class folder)" for position in _strays(root))
    return _index(listing, folders, named, strays)


def _grow(listing: Listing) -> _Node:
    """The tree of folders."""
    nodes = {"": _Node("")}

    def node_of(path: str) -> _Node:
        if path not in nodes:
            parent, _, name = path.rpartition("/")
            nodes[path] = node_of(parent).children.setdefault(name, _Node(path))
        return nodes[path]

    for path in listing.folders:
        node_of(path)
    for position, name in enumerate(listing.names):
        node_of(name.rpartition("/")[0]).images.append(position)
    return nodes[""]


def _find_root(node: _Node) -> _Node | None:
    """Go down through wrapping folders to the one that holds splits or classes."""
    if _holds_known_names(node):
        return node
    holders = node.holders()
    known = [child for child in holders.values() if _holds_known_names(child)]
    if len(known) > 1:
        raise DataError(
            "several datasets side by side; name one of them, or, where they are people, put each one's pictures below "
            "the classes (happy/anna, sad/anna)",
            [child.path for child in known],
        )
    if known:
        return known[0]
    if len(holders) == 1:
        (only,) = holders.values()
        if not only.images:
            return _find_root(only)
        return _dataset_below(only) or node  # with images of its own it is a class, unless there is a dataset below
    return node if holders else None


def _dataset_below(node: _Node) -> _Node | None:
    """The one dataset within a folder that has images too: expressions, or splits with classes."""
    try:
        root = _find_root(node)
    except DataError:  # several
        return None
    if root is None:
        return None
    folders = [root.children[name] for name in _splits_of(root)] if _has_splits(root) else [root]
    classes = [child for folder in folders for child in folder.holders()]
    return root if classes and _holds_known_names(root) else None


def _has_splits(node: _Node) -> bool:
    return bool(_splits_of(node).keys() & node.holders().keys())


def _splits_of(node: _Node) -> dict[str, str]:
    """Which folders in it are splits, and which; of a plain name, empty ones too, but for one with splits in it."""
    plain = {
        name: split
        for name, child in node.children.items()
        if (split := folder_split(name)) and len(_split_names(child)) < 2
    }
    return plain | folder_splits(
        name for name, child in node.holders().items() if name in plain or not _wraps_splits(child)
    )


def _wraps_splits(node: _Node) -> bool:
    return bool(_split_names(node))


def _split_names(node: _Node) -> list[str]:
    return [name for name in node.holders() if folder_split(name)]


def _halves(root: _Node) -> dict[str, tuple[str, _Node]]:
    """The splits that a folder holds by the names of their folders: each with the folder that holds its classes."""
    return {name: (split, _class_parent(root.children[name], split)) for name, split in _splits_of(root).items()}


def _class_parent(node: _Node, split: str) -> _Node:
    """Go down from a split's folder to its classes: ``train/train/happy``, ``train/images/happy``."""
    holders = node.holders()
    while len(holders) == 1 and not node.images:
        ((name, only),) = holders.items()
        holders = only.holders()
        says_nothing = long_split(name) == split or is_container(name) or _leads_to_expressions(only)
        unlabelled = split != "train" and (is_container(name) or table_split(name) == split)
        if unlabelled and only.images and not holders:
            return only  # faces without labels: ``Test/Test_Aligned_Faces``
        if only.images or not holders or is_expression(name) or not says_nothing:
            break
        node = only
    return node


def _leads_to_expressions(node: _Node) -> bool:
    """Whether it holds expressions, or one folder after the other that does: ``Val_Faces_new/Val_Faces/happy``."""
    holders = node.holders()
    while len(holders) == 1 and not node.images and not any(map(is_expression, holders)):
        (node,) = holders.values()
        holders = node.holders()
    return any(map(is_expression, holders))


def _holds_known_names(node: _Node) -> bool:
    """Whether folders in it are called like splits or like expressions."""
    return _has_splits(node) or any(is_expression(name) for name in node.children)


def _class_folders(root: _Node, root_name: str) -> Iterator[_ClassFolder]:
    """Every class folder with its split, and split folders whose images have no class at all."""
    if not _has_splits(root):
        split = folder_split(root.path.rpartition("/")[2] or root_name)
        yield from (_ClassFolder(child, name, split) for name, child in root.children.items())
        return
    halves = _halves(root)
    unknown = [child.path for name, child in root.holders().items() if name not in halves]
    if unknown:
        raise DataError("folders of images beside train, val and test that are none of these", unknown)
    for split, split_node in halves.values():
        if not split_node.children and split_node.images:
            yield _ClassFolder(split_node, None, split)
        yield from (_ClassFolder(child, name, split) for name, child in split_node.children.items())


def _without_numbers(folders: Sequence[_ClassFolder]) -> list[_ClassFolder]:
    """Class folders that all have a number in front (``0_angry``) lose it, where they then name expressions."""
    numbered = [None if folder.label is None else split_number(folder.label) for folder in folders]
    labelled = [folder for folder in folders if folder.label is not None]
    named = [(folder.split, one[1]) for folder, one in zip(folders, numbered, strict=True) if one is not None]
    alike = len(set(named)) < len(named)
    if len(named) < len(labelled) or alike or not mostly_expressions({name for _, name in named}):
        return list(folders)
    return [replace(folder, label=one and one[1]) for folder, one in zip(folders, numbered, strict=True)]


def _named_by_number(
    folders: list[_ClassFolder], given: Sequence[str] | None, read_names: Callable[[], Sequence[str] | None]
) -> tuple[list[_ClassFolder], tuple[str, ...] | None]:
    """Class folders that are all called by a number (``train/3``) get the names that are listed for these.

    Returns:
        The folders, and all the names; the folders as they are and None where nothing but numbers is listed.

    Raises:
        DataError: a number has no name.
    """
    labels = [folder.label for folder in folders if folder.label is not None]
    if not _are_numbers(labels):
        return folders, None
    lines = read_names() if given is None else [canonical(name) for name in given]
    if lines is None or _are_numbers(lines):
        return folders, None
    names = names_by_number(lines)
    unnamed = [f.node.path for f in folders if f.label is not None and int(f.label) not in names]
    if unnamed:
        known = ", ".join(f"{number} {name}" for number, name in names.items())
        source = NAMES_FILE if given is None else "the names given"
        raise DataError(f"numbers without a name; by {source} they are {known}", unnamed)
    told = [folder if folder.label is None else replace(folder, label=names[int(folder.label)]) for folder in folders]
    classes = class_order(set(names.values()))
    return told, classes if classes == EXPRESSIONS else tuple(dict.fromkeys(names.values()))


def _strays(root: _Node) -> list[int]:
    """Images beside class folders: a face without a label."""
    if not _has_splits(root):
        return root.images.tolist()
    return [position for _, half in _halves(root).values() if half.children for position in half.images]


def _check_classes(
    folders: Sequence[_ClassFolder], allowed: Sequence[str] | None, read_names: Callable[[], Sequence[str] | None]
) -> tuple[str, ...]:
    """The dataset's classes in order, once every folder is known to be one of them and to hold something."""
    labelled = [(folder.node, canonical(folder.label)) for folder in folders if folder.label is not None]
    nameless = [repr(node.path) for node, name in labelled if not name]
    if nameless:
        raise DataError("class folders without a name", nameless)
    if not all(is_text(name) for _, name in labelled):
        broken = [ascii(node.path) for node, name in labelled if not is_text(name)]
        raise DataError("class folders whose names are not UTF-8 text; rename them", broken)
    names = {name for _, name in labelled}
    given = allowed
    allowed = None if allowed is None else [canonical(name) for name in allowed]
    if allowed is None and not names <= set(EXPRESSIONS):
        lines = read_names()
        listed = None if lines is None else tuple(dict.fromkeys(names_by_number(lines).values()))
        mixed = not names <= known_classes(names, None)
        allowed = listed if mixed or names <= set(listed or ()) or not mostly_expressions(names) else None
    known = known_classes(names, allowed)
    unknown = sorted({node.path for node, name in labelled if name not in known})
    if unknown:
        by = f" ({NAMES_FILE} lists them)" if given is None and allowed is not None else ""
        raise DataError(
            f"unknown class{guess(unknown, known)}; the classes are {', '.join(sorted(known))}{by}; rename or remove "
            "what is none of them, or write the names of all classes, one a line, into a file "
            f"{NAMES_FILE} beside them",
            unknown,
        )
    empty = sorted(node.path for node, _ in labelled if not node.holds_images())
    if empty:
        raise DataError("empty class; add images or remove the folder: no images in", empty)
    if not names <= set(EXPRESSIONS):
        _check_agreement(folders)
    return tuple(allowed) if allowed else class_order(names)


def _check_agreement(folders: Sequence[_ClassFolder]) -> None:
    """Own classes: one that only the test set has could never be learned."""
    by_split: dict[str | None, dict[str, str]] = {}
    for folder in folders:
        if folder.label is not None:
            by_split.setdefault(folder.split, {})[canonical(folder.label)] = folder.node.path
    training = by_split.get("train", {})
    unknown = [
        path
        for split, names in by_split.items()
        if split != "train"
        for name, path in names.items()
        if name not in training
    ]
    if training and unknown:
        raise DataError(
            "unknown class; add it to the training split, or remove it: there is no such folder there", unknown
        )


def _index(
    listing: Listing, folders: Sequence[_ClassFolder], classes: tuple[str, ...], strays: tuple[str, ...]
) -> Index:
    """Put the images of all class folders into one table, in the order of their names."""
    label_of = {name: label for label, name in enumerate(classes)}
    positions, labels, splits = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, "U7")]
    for folder in folders:
        found = np.fromiter(folder.node.walk(), np.int64)
        positions.append(found)
        labels.append(np.full(len(found), -1 if folder.label is None else label_of[canonical(folder.label)]))
        splits.append(_splits(listing, found, folder.split))
    order = np.argsort(np.concatenate(positions), kind="stable")
    used = np.concatenate(positions)[order].tolist()
    names = listing.names if len(used) == len(listing.names) else [listing.names[position] for position in used]
    return Index(
        format=_format(names, classes),
        classes=classes,
        keys=encode_names(names),
        labels=np.concatenate(labels)[order],
        splits=np.concatenate(splits)[order],
        problems=strays,
    )


def _splits(listing: Listing, positions: NDArray[np.int64], folder: str | None) -> NDArray[np.str_]:
    """The split of each file of one class folder."""
    if folder not in (None, "test"):
        return np.full(len(positions), folder, "U7")
    found = [file_split(base_name(listing.names[position]), folder) for position in positions.tolist()]
    return np.array(found, "U7")


def _format(names: Sequence[str], classes: Sequence[str]) -> str:
    prefixed = bool(names) and base_name(names[0]).startswith(tuple(FILE_PREFIXES))
    numbers = f" named by numbers ({NAMES_FILE} may say what they mean)" if _are_numbers(classes) else ""
    return "FER2013 folder" if prefixed else f"class folders{numbers}"


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.strip().isdecimal() for name in names)
