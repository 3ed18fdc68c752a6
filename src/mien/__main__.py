"""The command `mien`, and `python -m mien`: here so that Ctrl-C while the rest is imported is no traceback either."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command and end the process."""
    try:
        from mien.cli import INTERRUPTED
        from mien.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("mien: interrupted\n")
        sys.exit(130)
    try:
        run()
    except KeyboardInterrupt:  # before the command itself began
        sys.stderr.write("mien: interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
