"""How much of this machine a process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many cores this process may use: fewer than there are where it is bound to some, as by ``taskset``."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
