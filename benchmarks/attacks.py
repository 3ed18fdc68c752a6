"""What attacks on `mien serve` get, as a table: those of tests/attacks.py, against the bundled model.

python benchmarks/attacks.py
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from mien.server import Analyzers
from reporting import publish, tree_bytes

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from attacking import TIMES, Target
from attacks import ATTACKS
from services import listening


def main() -> None:
    rows, before = [], 0.0
    with listening(Analyzers(["mien-small"]), **TIMES) as place:
        for attack in ATTACKS:
            before = before or megabytes()
            got = attack.run(Target(place))
            as_expected = re.fullmatch(attack.expected, got) is not None
            rows.append((attack.name, got if as_expected else f"{got} (not as expected)"))
    publish(
        "serving-attacks",
        "Attacks on mien serve",
        "python benchmarks/attacks.py",
        "Status of the answer, kind of problem, in brackets that of the picture. Service and attacker ran in one "
        f"process, whose resident memory was {before:.0f} MB before and {megabytes():.0f} MB after. Limits as by "
        "default, but for these, so that it does not take long: bodies of 2 MiB in 1 s, 40 connections.",
        ("attack", "got"),
        rows,
    )


def megabytes() -> float:
    return tree_bytes(os.getpid()) / 1e6


if __name__ == "__main__":
    main()
