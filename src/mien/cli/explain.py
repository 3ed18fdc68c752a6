"""``mien explain``: draw what in a face an answer hangs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.settings import on_command_line
from mien.errors import DataError, UsageError, unknown_choice
from mien.files import check_writable

if TYPE_CHECKING:
    from mien.analyzer import Analyzer
    from mien.explaining import Explainer, Explanation
    from mien.sources import Frame

SOURCES_HELP = "Images, folders, glob patterns, .txt lists, .zip, addresses; with --per-class one dataset."

SHEET = "classes.png"
"""What the sheet of ``--per-class`` is called in the folder."""


def explain_command(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=SOURCES_HELP, show_default=False)],
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="A model file, or a bundled name.")] = None,
    method: Annotated[
        str, typer.Option(help="occlusion (any model), gradcam (needs Keras), or auto: occlusion.")
    ] = "auto",
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Explain this class.", show_default="each face's most probable")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="The layer gradcam reads.", show_default="the last of each stage")
    ] = None,
    detector: Annotated[str, typer.Option(help="mtcnn, or none: each picture is a face, cut out already.")] = "mtcnn",
    min_confidence: Annotated[
        float, typer.Option(help="Faces of which no expression is so probable are called uncertain.")
    ] = 0.0,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Write pictures there.")] = Path("explained"),
    per_class: Annotated[
        bool, typer.Option("--per-class", help="SOURCE is a dataset: draw a sheet with a row for each class.")
    ] = False,
    split: Annotated[str, typer.Option(help="With --per-class: train, val, public, private, test or all.")] = "test",
    faces: Annotated[int, typer.Option(min=1, help="With --per-class: faces of each class.")] = 3,
    averaged: Annotated[int, typer.Option(min=0, help="With --per-class: faces in each mean map; 0: none.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="With --per-class: another seed shows other faces.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, the maps in it.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml...; where an .onnx runs.")] = "auto",
) -> None:
    """Draw what an answer hangs on: orange where the face speaks for the expression, blue where against it."""
    from mien.explaining import needs_keras
    from mien.results import check_min_confidence

    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: must be a folder, and {out} is a file")
    if per_class:
        check_writable(out / SHEET)
    else:
        _refuse_without_classes(context)
    check_min_confidence(min_confidence, "--min-confidence")
    if per_class and (len(sources) != 1 or target is not None):
        raise UsageError(
            "--per-class: takes one dataset and explains every class; leave out --target and other sources"
        )
    if needs_keras(model, method, layer):
        from mien.cli.console import load_keras

        load_keras("the method gradcam, as reading .keras and .h5 files,")
    explainer = _open(model, method, layer, device)
    if per_class:
        document = _explain_classes(explainer, Path(sources[0]), split, (faces, averaged, seed), out)
        said = [f"wrote {document['sheet']}"]
    else:
        work = _Work(explainer, _analyzer(explainer, detector, min_confidence), target, out)
        document, said = work.run(sources)
    if as_json:
        import json

        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        for line in said:
            typer.echo(line)
    if not per_class and document["failures"]:
        raise DataError("sources failed", document["failures"])
    if not per_class and not document["faces"]:
        raise DataError("no face was found; for pictures that are faces, cut out already, add --detector none", sources)


def _refuse_without_classes(context: typer.Context) -> None:
    """Refuse options that only a sheet of classes takes.

    Raises:
        UsageError: names the first.
    """
    for name in ("split", "faces", "averaged", "seed"):
        if on_command_line(context, name):
            raise UsageError(f"--{name}: is for --per-class; add that, or leave it out")


def _open(model: str | None, method: str, layer: str | None, device: str) -> Explainer:
    from mien import litert
    from mien.classifier import open_model
    from mien.explaining import open_explainer
    from mien.weights import find_model

    litert.refuse(model or "", "explained")
    return open_explainer(open_model(find_model(model), device=device), method, layer=layer)


def _analyzer(explainer: Explainer, detector: str, min_confidence: float) -> Analyzer:
    from mien.analyzer import Analyzer
    from mien.faces import DETECTORS

    if detector not in DETECTORS:
        raise unknown_choice("--detector", detector, DETECTORS)
    return Analyzer(explainer.model, detector=detector, min_confidence=min_confidence)


def _explain_classes(
    explainer: Explainer, data: Path, split: str, counts: tuple[int, int, int], folder: Path
) -> dict[str, Any]:
    """Write the sheet; what ``--json`` prints of it."""
    from mien.cli.console import reading_bar
    from mien.datasets import open_dataset
    from mien.datasets.sheets import write_sheet
    from mien.explanations import explain_dataset
    from mien.judging import known_classes

    faces, averaged, seed = counts
    dataset, others = known_classes(open_dataset(data), split, explainer.model)
    if others:
        typer.echo(f"no row for what the model does not know: {', '.join(others)}", err=True)
    with reading_bar(what="explaining classes") as progress:
        sheet = explain_dataset(
            explainer, dataset, split=split, faces=faces, averaged=averaged, seed=seed, progress=progress
        )
    write_sheet(folder / SHEET, sheet)
    facts = {"data": str(data), "split": split, "method": explainer.method, "layers": list(explainer.layers)}
    return {**facts, "sheet": str(folder / SHEET), "classes": list(explainer.classes)}


@dataclass(frozen=True)
class _Work:
    """How pictures are explained."""

    explainer: Explainer
    analyzer: Analyzer
    target: str | None
    folder: Path

    def run(self, sources: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Explain and draw every picture: what ``--json`` prints, and lines for people."""
        from mien.frames import printable
        from mien.outputs import Annotated as Drawn
        from mien.sources import open_sources

        failures: list[str] = []

        def fail(source: str, reason: str) -> None:
            failures.append(printable(source))
            typer.echo(f"{printable(source)}: {reason}", err=True)

        if self.target is not None:
            self.explainer.index(self.target)
        records, said = list[dict[str, Any]](), list[str]()
        opening = open_sources(sources, on_failure=fail, pictures_only=True)
        with opening as opened, Drawn(self.folder, inputs=opened.paths) as drawn:
            for frame in opened:
                found = self._explain(frame)
                path = self._draw(frame, found, drawn) if found else None
                records += [{"source": frame.source, "drawn": path, **one.to_dict()} for one in found]
                said.append(f"{printable(frame.source)}: {_words(found)}" + (f"; wrote {path}" if path else ""))
        facts = {"method": self.explainer.method, "layers": list(self.explainer.layers)}
        return {**facts, "faces": records, "failures": failures}, said

    def _explain(self, frame: Frame) -> tuple[Explanation, ...]:
        from mien.explaining import explain_picture

        return explain_picture(self.explainer, frame.image, analyzer=self.analyzer, target=self.target)

    def _draw(self, frame: Frame, found: Sequence[Explanation], drawn: Any) -> str:
        from mien.explanations import draw_explanations

        drawn.write(frame, draw_explanations(frame.image, found, method=self.explainer.method))
        return str(drawn.paths[-1])


def _words(found: Sequence[Explanation]) -> str:
    """``happy 93%, sad 41% (explained: fear 12%)``."""
    words = []
    for one in found:
        other = "" if one.target == one.face.expression else f" (explained: {one.target} {one.share:.0%})"
        words.append(f"{one.face.expression} {one.face.confidence:.0%}{other}")
    return ", ".join(words) or "no face"
