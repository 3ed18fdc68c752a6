"""Every attack in `attacks.ATTACKS` against a service that listens, with the real model."""

import re

import pytest

from attacking import TIMES, Target
from attacks import ATTACKS, Attack
from mien.server import Analyzers
from services import listening


@pytest.fixture(scope="module")
def target():
    with listening(Analyzers(["mien-small"]), **TIMES) as place:
        yield Target(place)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attacks_get_what_they_must(target: Target, attack: Attack) -> None:
    got = attack.run(target)
    assert re.fullmatch(attack.expected, got), got
