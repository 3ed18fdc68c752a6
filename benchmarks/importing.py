"""How long `import mien` and the first use of its light half take.

python benchmarks/importing.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from reporting import publish

STATEMENTS = (
    "import mien",
    "import mien; mien.Classifier",
    "import mien; mien.open_dataset",
    "import mien; mien.network",
)

CLOCK = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    rows = []
    for statement in STATEMENTS:
        times = [measure(statement) for _ in range(options.repeats)]
        rows.append((f"`{statement}`", f"{statistics.median(times):.3f}", f"{min(times):.3f} to {max(times):.3f}"))
    publish(
        "importing",
        "Seconds to import",
        f"python benchmarks/importing.py --repeats {options.repeats}",
        f"Median and range of {options.repeats} fresh processes, files cached. The last is the heavy half.",
        ("statement", "median, s", "range, s"),
        rows,
    )


def measure(statement: str) -> float:
    """Seconds a statement takes in a fresh process."""
    command = [sys.executable, "-c", CLOCK.format(statement)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout)


if __name__ == "__main__":
    main()
