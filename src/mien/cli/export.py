"""`mien export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .keras, .h5 or .onnx file.", show_default=False)],
    kind: Annotated[str, typer.Option("--format", "-f", help="onnx, keras or h5.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; beside MODEL by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a model in another format; an .onnx is checked against Keras before it is kept."""
    from mien.cli.console import load_keras

    load_keras("exporting")
    from mien.export import export_model

    written = export_model(model, kind, out, force=force)
    typer.echo(f"{written}  ({written.stat().st_size / 1e6:.2f} MB)")
