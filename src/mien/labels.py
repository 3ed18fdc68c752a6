"""The seven expressions, their one order, and every other order and spelling in which datasets name them.

Class order is alphabetical, as folders sort. Whatever is read is mapped here *by name*; no other file holds an order.
"""

from __future__ import annotations

from mien.errors import UsageError

EXPRESSIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The classes, in the order of a network's outputs."""

FER2013_INDICES: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""What the integers 0..6 of the column ``emotion`` mean in ``fer2013.csv`` (Goodfellow et al. 2013)."""

FERPLUS_COLUMNS: tuple[str, ...] = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"),
)
"""The vote columns of ``fer2013new.csv`` (Barsoum et al. 2016), in file order."""

AFFECTNET_NUMBERS: dict[int, str] = dict(
    enumerate(("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"))
)
"""What the column ``expression`` means in AffectNet's lists (Mollahosseini et al. 2017)."""

AFFECTNET_WITHOUT: dict[int, str] = {8: "none", 9: "uncertain", 10: "no face"}
"""Numbers of the same column with which AffectNet marks pictures that show none of its expressions."""

RAFDB_NUMBERS: dict[int, str] = dict(
    enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1)
)
"""What the numbers mean in RAF-DB's list of basic expressions (Li et al. 2017)."""

EXPW_NUMBERS: dict[int, str] = dict(enumerate(FER2013_INDICES))
"""What the last number of a line means in ExpW's ``label.lst`` (Zhang et al. 2017)."""

CKPLUS_NUMBERS: dict[int, str] = dict(
    enumerate(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"))
)
"""What the numbers in the files of CK+'s folder ``Emotion`` mean (Lucey et al. 2010)."""

ALIASES: dict[str, str] = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Other spellings of the seven, as they are found in folder names and vote columns, in lower case."""


def canonical(name: str) -> str:
    """Give the expression's own name for a spelling of it: ``"Anger "`` gives ``"angry"``.

    A name that is no spelling of the seven, nor contempt, comes back stripped and otherwise as it was.
    """
    stripped = name.strip()
    lowered = stripped.lower()
    lowered = ALIASES.get(lowered, lowered)
    return lowered if lowered in EXPRESSIONS or lowered == "contempt" else stripped


def class_order(names: set[str]) -> tuple[str, ...]:
    """The order of a dataset's classes: the seven expressions where all names are of them, else alphabetical.

    The seven are kept whole even where a dataset lacks one, so that networks of one task have one shape.
    """
    return EXPRESSIONS if names <= set(EXPRESSIONS) else tuple(sorted(names))


def refuse_text(classes: object, argument: str = "classes") -> None:
    """Refuse a text in place of several names: a sequence of letters to Python.

    Raises:
        UsageError: names what was received.
    """
    if isinstance(classes, str | bytes):
        raise UsageError(f"{argument}: must be names in their order, such as ('happy', 'sad'), received {classes!r}")
