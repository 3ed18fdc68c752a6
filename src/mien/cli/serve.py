"""``mien serve``: the REST service and the web page."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import MissingExtraError, UsageError, unknown_choice

if TYPE_CHECKING:
    from mien.server.settings import ServerSettings

NEEDED = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
MEBIBYTE = 2**20


def serve_command(
    host: Annotated[
        str, typer.Option(envvar="MIEN_HOST", help="Address to listen on; all but this machine need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="MIEN_PORT", min=0, max=65535, help="0: any free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            envvar="MIEN_MODEL",
            metavar="MODEL",
            help="A file or bundled name; several; first: default.",
            show_default="mien-small",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MIEN_TOKEN",
            help="What clients must send as bearer token; better by MIEN_TOKEN or --token-file, "
            "as other users see a command's options.",
            show_default="none",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(envvar="MIEN_TOKEN_FILE", metavar="FILE", help="A file that holds the token.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", envvar="MIEN_INSECURE", help="Let other machines in without a token.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(envvar="MIEN_ALLOW_HOST", metavar="NAME", help="Answer under this host name too; several."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(envvar="MIEN_CORS_ORIGIN", metavar="ORIGIN", help="Let pages of this origin in; several."),
    ] = None,
    max_body: Annotated[int, typer.Option(envvar="MIEN_MAX_BODY", min=1, help="MiB a request with pictures.")] = 32,
    max_images: Annotated[int, typer.Option(envvar="MIEN_MAX_IMAGES", min=1, help="Pictures a request.")] = 32,
    max_pixels: Annotated[
        int, typer.Option(envvar="MIEN_MAX_PIXELS", min=1, help="Refuse larger pictures.")
    ] = 25_000_000,
    max_video: Annotated[int, typer.Option(envvar="MIEN_MAX_VIDEO", min=1, help="MiB a video.")] = 256,
    max_video_seconds: Annotated[
        float, typer.Option(envvar="MIEN_MAX_VIDEO_SECONDS", help="Refuse longer videos.")
    ] = 600.0,
    max_videos: Annotated[int, typer.Option(envvar="MIEN_MAX_VIDEOS", min=1, help="Videos at once.")] = 1,
    video_folder: Annotated[
        Path | None,
        typer.Option(
            envvar="MIEN_VIDEO_FOLDER",
            metavar="DIR",
            help="Where videos lie while they are worked on; is emptied.",
            show_default="one of its own",
        ),
    ] = None,
    queue: Annotated[int, typer.Option(envvar="MIEN_QUEUE", min=1, help="Pictures that may wait; beyond: 503.")] = 128,
    queue_memory: Annotated[
        int,
        typer.Option(
            envvar="MIEN_QUEUE_MEMORY",
            min=0,
            help="MiB of bodies, and of pictures, in memory.",
            show_default="256, or twice --max-body where that is more",
        ),
    ] = 0,
    batch: Annotated[
        int, typer.Option(envvar="MIEN_BATCH", min=1, help="Pictures worked on together; 1: one at a time.")
    ] = 16,
    workers: Annotated[
        int, typer.Option(envvar="MIEN_WORKERS", min=0, help="Threads that work on batches; 0: as --threads.")
    ] = 0,
    threads: Annotated[
        int, typer.Option(envvar="MIEN_THREADS", min=0, help="CPU threads; 0: as many as there are cores.")
    ] = 0,
    device: Annotated[
        str, typer.Option(envvar="MIEN_DEVICE", help="auto, cpu, cuda, coreml...; where an .onnx runs.")
    ] = "auto",
    timeout: Annotated[float, typer.Option(envvar="MIEN_TIMEOUT", help="Seconds for a request's work.")] = 60.0,
    body_timeout: Annotated[
        float, typer.Option(envvar="MIEN_BODY_TIMEOUT", help="Seconds for a request's body to come.")
    ] = 30.0,
    shutdown_timeout: Annotated[
        float, typer.Option(envvar="MIEN_SHUTDOWN_TIMEOUT", help="Seconds that requests get when it ends.")
    ] = 20.0,
    keep_alive: Annotated[
        float, typer.Option(envvar="MIEN_KEEP_ALIVE", help="Seconds for a connection's next request.")
    ] = 5.0,
    max_connections: Annotated[
        int, typer.Option(envvar="MIEN_MAX_CONNECTIONS", min=1, help="Connections; beyond: 503.")
    ] = 256,
    log_format: Annotated[str, typer.Option(envvar="MIEN_LOG_FORMAT", help="text or json, on stderr.")] = "text",
    log_level: Annotated[str, typer.Option(envvar="MIEN_LOG_LEVEL", help="debug, info, warning or error.")] = "info",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the web page and the REST service. Ctrl-C ends it when requests in flight are done, twice at once."""
    if any(find_spec(name) is None for name in NEEDED):
        raise MissingExtraError("mien serve", "serve")
    from mien.server.logs import FORMATS, LEVELS
    from mien.server.settings import ServerSettings

    if log_format not in FORMATS:
        raise unknown_choice("--log-format", log_format, FORMATS)
    if log_level not in LEVELS:
        raise unknown_choice("--log-level", log_level, LEVELS)
    settings = ServerSettings(
        host=host,
        port=port,
        token=_token(token, token_file),
        insecure=insecure,
        allow_hosts=tuple(allow_host or ()),
        cors_origins=tuple(cors_origin or ()),
        max_body=max_body * MEBIBYTE,
        max_images=max_images,
        max_pixels=max_pixels,
        max_video_bytes=max_video * MEBIBYTE,
        max_video_seconds=max_video_seconds,
        max_videos=max_videos,
        video_folder=video_folder,
        queue_pictures=queue,
        queue_bytes=queue_memory * MEBIBYTE,
        batch_pictures=batch,
        workers=workers,
        threads=threads,
        timeout=timeout,
        body_timeout=body_timeout,
        shutdown_timeout=shutdown_timeout,
        keep_alive=keep_alive,
        max_connections=max_connections,
    )
    _serve(settings, tuple(model or ()), device, (log_format, log_level), open_page=open_page)


def _serve(
    settings: ServerSettings, models: tuple[str, ...], device: str, log: tuple[str, str], *, open_page: bool
) -> None:
    from dataclasses import replace

    import PIL.Image

    from mien.server import Analyzers, create_app
    from mien.server.logs import set_up
    from mien.server.running import address_of, bind, make_server

    PIL.Image.MAX_IMAGE_PIXELS = None  # our own limit holds alone, as in ``mien predict``
    listener = bind(settings)
    address = address_of(listener)
    try:
        analyzers = Analyzers(models, threads=settings.threads, device=device, max_pixels=settings.max_pixels)
        settings = replace(settings, port=listener.getsockname()[1])
        app = create_app(analyzers, settings)
        app.state.jobs.open()  # a folder that cannot be used is told here, as any other wrong option
    except BaseException:
        listener.close()
        raise
    set_up(*log)

    def tell() -> None:
        typer.echo(f"mien: listening on {address}, Ctrl-C ends it")
        sys.stdout.flush()
        if open_page:
            typer.launch(address)

    make_server(app, settings, tell).run(sockets=[listener])


def _token(token: str | None, path: Path | None) -> str:
    """The token, from wherever it was given."""
    if path is None:
        return token or ""
    if token:
        raise UsageError(
            "--token-file: the token is given twice, by --token or MIEN_TOKEN and by --token-file or MIEN_TOKEN_FILE; "
            "leave one out, or set it to nothing"
        )
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file: {path} cannot be read ({getattr(error, 'strerror', error)})") from error
    if not found:
        raise UsageError(f"--token-file: {path} is empty; it must hold the token, 8 characters or more")
    if os.name == "posix" and path.stat().st_mode & 0o004:
        typer.echo(f"mien: {path} can be read by everybody; chmod 600 {path}", err=True)
    return found
