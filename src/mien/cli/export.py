"""`mien export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.errors import many

FORMATS = ("onnx", "keras", "h5", "litert", "web")
"""What --format takes; ``web`` is a folder and needs no Keras."""


def export_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .keras, .h5 or .onnx, or a bundled name.", show_default=False)
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="onnx, keras, h5, litert; web: a page that reads in the browser.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write, for web a folder.", show_default="beside MODEL, or here"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Of .onnx and .tflite: float32, float16 (half the size) or int8 (a quarter, and faster); of .tflite "
            "also int8-dynamic (a quarter, without --calibrate)."
        ),
    ] = "float32",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="For int8: labelled faces; the ranges of values are read off some of them."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file, or a web page, that is there.")] = False,
) -> None:
    """Write a model in another format or precision, or a web page with it; files are checked before they are kept."""
    from mien.errors import unknown_choice

    if kind not in FORMATS:
        raise unknown_choice("format", kind, FORMATS)
    if kind == "web":
        _export_web(model, out, plain=precision == "float32" and calibrate is None, force=force)
    else:
        _export_file(model, kind, out, precision, calibrate, force)


def _export_web(model: Path, out: Path | None, *, plain: bool, force: bool) -> None:
    from mien.errors import UsageError
    from mien.server.web_export import export_page

    if not plain:
        raise UsageError("precision: is not for the format web, which takes an .onnx as it is; export that first")
    folder = export_page(model, out, force=force)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    typer.echo(f"{folder}  ({size / 1e6:.2f} MB)")
    typer.echo(f"look at it: python -m http.server --directory {folder}", err=True)


def _export_file(model: Path, kind: str, out: Path | None, precision: str, calibrate: Path | None, force: bool) -> None:
    from mien.cli.console import load_keras, opening

    load_keras("exporting")
    from mien.export import export_model
    from mien.precisions import read_precision

    with opening("written.tflite" if kind == "litert" else None):  # to compare it with Keras
        written = export_model(model, kind, out, precision=precision, calibrate=calibrate, force=force)
    typer.echo(f"{written}  ({written.stat().st_size / 1e6:.2f} MB)")
    if precision == "int8":
        facts = read_precision(written)
        typer.echo(
            f"on {many(facts['images'], 'training image')}: the same expression as in float32 for "
            f"{facts['agreement']:.1%}, "
            f"probabilities {facts['mean_difference']:.4f} apart on average"
        )
