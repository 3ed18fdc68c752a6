"""`mien demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.errors import many


def demo_command(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/<time>")] = None,
    count: Annotated[int, typer.Option(help="How many faces are drawn.")] = 4200,
    epochs: Annotated[int | None, typer.Option(help="Passes over them.", show_default="the recipe's")] = None,
    seed: Annotated[int, typer.Option(help="Other faces, other first weights.")] = 0,
) -> None:
    """The whole job on drawn faces, offline, in about a minute: draw, train, judge, save, plot."""
    import tempfile

    from mien.cli.console import load_keras, reading_bar, to_stderr
    from mien.cli.train import run_training
    from mien.datasets.samples import write_samples

    load_keras("the demo")
    from mien.recipes import recipe
    from mien.runs import RunFolder

    RunFolder.refuse_used(out)
    console = to_stderr()
    changes = {"seed": seed} if epochs is None else {"seed": seed, "epochs": epochs}
    config = recipe("demo", **changes)
    with tempfile.TemporaryDirectory(prefix="mien-demo-") as folder:
        faces = Path(folder) / "sample-faces"
        console.print(f"Drawing {many(count, 'face')}", style="bold", highlight=False)
        with reading_bar(console, "drawing") as progress:
            write_samples(faces, count=count, seed=seed, progress=progress)
        run_training(faces, config, out=out, resumable=False)
    console.print("Drawn faces, not photographs: the scores show that the job works, not how well it reads people.")
