"""``mien adopt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.settings import on_command_line
from mien.errors import UsageError


def adopt_command(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An .onnx, .keras or .h5 file from elsewhere.", show_default=False)
    ],
    classes: Annotated[
        str, typer.Option(metavar="A,B,...", help="Names of the outputs, in output order.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write: .onnx; of Keras models also .keras, .h5.", show_default=False),
    ],
    layout: Annotated[str | None, typer.Option(help="NCHW or NHWC.", show_default="as the shape says")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of its pictures in pixels.", show_default="as the shape says")
    ] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="It takes blue, green, red, as OpenCV reads them.")] = False,
    white: Annotated[int, typer.Option(help="What white is before --mean and --std: 1 or 255.")] = 1,
    mean: Annotated[str, typer.Option(help="Taken off pixels: one number, or R,G,B.")] = "0",
    std: Annotated[str, typer.Option(help="Pixels are divided by it: one number, or R,G,B.")] = "1",
    logits: Annotated[bool, typer.Option("--logits", help="It ends without a softmax; add one.")] = False,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="The output with the classes.", show_default="the only one")
    ] = None,
    crop_margin: Annotated[
        float, typer.Option(help="By how much of its side a face's square is widened on each side.")
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Make a model that another program wrote one that says what it is, so that every command takes it."""
    from mien.adopting import Intake

    names = [name.strip() for name in classes.split(",")]
    intake = Intake(layout, bgr, white, _numbers("--mean", mean), _numbers("--std", std), size)
    if model.suffix.lower() in (".keras", ".h5", ".hdf5"):
        from mien.cli.console import load_keras

        if on_command_line(context, "layout"):
            raise UsageError("--layout: is for .onnx files; a Keras model has its channels last: leave it out")
        load_keras("adopting a Keras model")
        from mien.adopting_keras import adopt_keras

        adopt = adopt_keras
    else:
        from mien.adopting import adopt_onnx

        adopt = adopt_onnx
    written = adopt(
        model, out, names, intake=intake, logits=logits, output=output, crop_margin=crop_margin, force=force
    )
    typer.echo(f"{written}  ({written.stat().st_size / 1e6:.2f} MB)")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option}: must be one number or three with commas, as 0.485,0.456,0.406, received {text!r}"
        ) from error
