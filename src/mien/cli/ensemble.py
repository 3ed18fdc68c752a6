"""`mien ensemble`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ensemble_command(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="Two .onnx files or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write several models as one that gives the mean of their probabilities."""
    from mien.ensembles import save_ensemble

    written = save_ensemble(models, out, force=force)
    typer.echo(f"{written}  ({written.stat().st_size / 1e6:.2f} MB)")
