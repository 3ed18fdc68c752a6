"""Datasets whose numbers of classes are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mien.labels import AFFECTNET_NUMBERS, AFFECTNET_WITHOUT, CKPLUS_NUMBERS, EXPW_NUMBERS, RAFDB_NUMBERS


@dataclass(frozen=True, eq=False)
class Scheme:
    """A dataset whose numbers are known.

    Attributes:
        name: what it is called in words.
        names: what its numbers mean.
        without: numbers of rows to pass over, since they show none of its classes.
    """

    name: str
    names: Mapping[int, str]
    without: Mapping[int, str] = field(default_factory=dict)


AFFECTNET = Scheme("AffectNet", AFFECTNET_NUMBERS, AFFECTNET_WITHOUT)
RAFDB = Scheme("RAF-DB", RAFDB_NUMBERS)
CKPLUS = Scheme("CK+", CKPLUS_NUMBERS)
EXPW = Scheme("ExpW", EXPW_NUMBERS)
