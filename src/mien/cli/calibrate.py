"""``mien calibrate``: fit a model's temperature on pictures that it did not learn from, and write it into the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import UsageError, many, unknown_choice

if TYPE_CHECKING:
    from mien.calibration import TemperatureFit

CALIBRATE_SPLITS = ("val", "public", "private", "test", "train")
"""Where a temperature may be fitted; on private and test with a warning, on train of data that the model never saw."""


def calibrate_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An .onnx file, or a bundled name.", show_default=False)
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled faces: folder, CSV, archive.", show_default=False)
    ],
    split: Annotated[
        str, typer.Option(help="What the model did not learn from: val, public; train of other data.")
    ] = "val",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write there.", show_default="into MODEL itself"),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="A list of pictures to leave out, as mien data check --fix writes."),
    ] = None,
    known_classes: Annotated[
        bool, typer.Option("--known-classes", help="Leave out pictures of classes that the model does not know.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on without files that cannot be used.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml...; where the model runs.")] = "auto",
) -> None:
    """Make a model's confidences mean what they say: fit its temperature. No answer changes, only how sure it is."""
    import json

    from mien import litert
    from mien.calibrating import calibrate_model
    from mien.classifier import KERAS_SUFFIXES
    from mien.cli.console import reading_bar, to_stderr
    from mien.files import check_writable
    from mien.weights import BUNDLED

    _check_split(split)
    if model.suffix.lower() in KERAS_SUFFIXES:
        raise UsageError(f"{model}: not an .onnx; 'mien export {model} --format onnx' makes one of it")
    litert.refuse(model, "calibrated")
    if out is None and str(model) in BUNDLED:
        raise UsageError(f"--out: {model} is bundled with mien and stays as it is; name a file to write")
    if out is not None and out.suffix.lower() != ".onnx":
        raise UsageError(f"--out: must end in .onnx, received {out}")
    if out is not None:
        check_writable(out)
    if split in ("private", "test"):
        to_stderr().print(
            f"warning: {split} is for judging at the end; what is fitted on it can no longer be judged by it. Use "
            "--split val or public",
            soft_wrap=True,
            highlight=False,
        )
    with reading_bar() as progress:
        fit, written = calibrate_model(
            model,
            data,
            split=split,
            out=out,
            exclude=exclude,
            known_classes=known_classes,
            skip_bad=skip_bad,
            device=device,
            progress=progress,
        )
    if as_json:
        document = {"model": str(model), "data": str(data), "split": split, "written": str(written), **fit.to_dict()}
        typer.echo(json.dumps(document, indent=2))
        return
    for line in _lines(fit, split, written):
        typer.echo(line)


def _check_split(split: str) -> None:
    if split not in CALIBRATE_SPLITS:
        raise unknown_choice("--split", split, CALIBRATE_SPLITS)


def _lines(fit: TemperatureFit, split: str, written: Path) -> list[str]:
    from mien.calibration import FEWEST

    before, after = fit.before, fit.after
    lines = [
        f"temperature {fit.temperature:.3f}, fitted on {many(fit.n, 'picture')} of {split}",
        f"calibration error (ECE) {before.ece:.2%} becomes {after.ece:.2%}, log loss {before.log_loss:.4f} becomes "
        f"{after.log_loss:.4f}, on these same pictures; judge it on others",
    ]
    if fit.n < FEWEST:
        lines.append(f"{many(fit.n, 'picture is', 'pictures are')} few: fitted on others, it may come out otherwise")
    return [*lines, f"wrote {written}"]
