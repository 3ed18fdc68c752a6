"""`mien export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras, .h5 or .onnx file, or mien-small.", show_default=False)
    ],
    kind: Annotated[str, typer.Option("--format", "-f", help="onnx, keras, h5 or litert.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; beside MODEL by default.")] = None,
    precision: Annotated[
        str, typer.Option(help="Of an .onnx: float32, float16 (half the size) or int8 (a quarter, and faster).")
    ] = "float32",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="For int8: labelled faces; the ranges of values are read off some of them."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a model in another format or precision; the result is checked before it is kept."""
    from mien.cli.console import load_keras

    load_keras("exporting")
    from mien.export import export_model
    from mien.precisions import read_precision

    written = export_model(model, kind, out, precision=precision, calibrate=calibrate, force=force)
    typer.echo(f"{written}  ({written.stat().st_size / 1e6:.2f} MB)")
    if precision == "int8":
        facts = read_precision(written)
        typer.echo(
            f"on {facts['images']} training images: the same expression as in float32 for {facts['agreement']:.1%}, "
            f"probabilities {facts['mean_difference']:.4f} apart on average"
        )
