"""The command ``mien``: it parses, calls, prints; no logic. Each command imports what it needs when it runs."""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Annotated

import typer

from mien import __version__
from mien.cli.adopt import adopt_command
from mien.cli.calibrate import calibrate_command
from mien.cli.data import data_app
from mien.cli.demo import demo_command
from mien.cli.ensemble import ensemble_command
from mien.cli.evaluate import evaluate_command
from mien.cli.explain import explain_command
from mien.cli.export import export_command
from mien.cli.flags import App
from mien.cli.info import info_command
from mien.cli.predict import predict_command
from mien.cli.serve import serve_command
from mien.cli.signals import terminated_as_interrupted
from mien.cli.train import train_command
from mien.cli.tune import tune_command
from mien.errors import MienError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

app = App(
    name="mien",
    help="Train, judge and run facial-expression classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo_command)
app.command("train")(train_command)
app.command("tune")(tune_command)
app.command("evaluate")(evaluate_command)
app.command("calibrate")(calibrate_command)
app.command("predict")(predict_command)
app.command("explain")(explain_command)
app.command("export")(export_command)
app.command("adopt")(adopt_command)
app.command("ensemble")(ensemble_command)
app.command("serve")(serve_command)
app.command("info")(info_command)
app.add_typer(data_app, name="data")


def _tell_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and the backend's log.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Train, judge and run facial-expression classifiers."""
    del version
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime's official builds report to their maker
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process: 0 done, 1 the work failed, 2 the request was wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)  # a file may have that name
    debug = "--debug" in arguments[:end]  # wherever it stands
    if debug:
        arguments = ["--debug", *(word for word in arguments[:end] if word != "--debug"), *arguments[end:]]
    _prepare_streams()
    try:
        with terminated_as_interrupted():
            app(arguments)
    except MienError as error:
        _explain(error, debug=debug)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer has caught the KeyboardInterrupt
            typer.echo("mien: interrupted", err=True)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if debug:
            traceback.print_exception(error)
        typer.echo(f"mien: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
        sys.exit(1)


def _prepare_streams() -> None:
    """Where a stream was closed when the process began, as some schedulers do, what is printed is lost."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe that cannot take a file's name gets it escaped
            stream.reconfigure(errors="backslashreplace")


def _explain(error: MienError, *, debug: bool) -> None:
    """Say what was wrong in a line or two; with the traceback where it was asked for."""
    if debug:
        traceback.print_exception(error)
    from mien.frames import printable

    typer.echo("\n".join(printable(line) for line in f"mien: {error}".splitlines()), err=True)
