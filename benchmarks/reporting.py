"""What every benchmark writes: one table, with what it takes to repeat it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil

FOLDER = Path(__file__).parent.parent / "docs" / "benchmarks"

PACKAGES = (
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "torch",
    "ray",
    "onnxruntime",
    "openvino",
    "opencv-python-headless",
    "numpy",
)


def publish(
    name: str, title: str, command: str, note: str, header: Sequence[str], rows: Sequence[Sequence[object]]
) -> Path:
    """Print a Markdown table with its command, machine and versions, and write it to docs/benchmarks.

    Args:
        name: of the file: ``<date>-<name>.md``.
        title: heading.
        command: what was run.
        note: what the numbers are, how many and how they were made.
        header: column headings.
        rows: cells.

    Returns:
        The file.
    """
    lines = [f"# {title}", "", f"`{command}`", "", machine(), "", note, ""]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]
    text = "\n".join(lines) + "\n"
    print(text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{time.strftime('%Y-%m-%d')}-{name}.md"
    path.write_text(text, encoding="utf-8")
    return path


def machine() -> str:
    """Processor, cores, system, and versions of what matters."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    versions = [f"{name} {version}" for name in PACKAGES if (version := installed(name))]
    return (
        f"{(names or [platform.processor()])[0]}, {os.cpu_count()} cores ({' '.join(known)}), {platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def installed(name: str) -> str:
    """Version of a distribution, or nothing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and all below it."""
    try:
        top = psutil.Process(pid)
        return sum(process.memory_info().rss for process in (top, *top.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0
