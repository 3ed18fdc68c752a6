"""``POST /v1/analyze``: pictures in, faces with expressions out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mien.cores import usable_cores
from mien.errors import MienError, many
from mien.images import Image
from mien.server.batching import Batcher, GetAnalyzer
from mien.server.decoding import check_format, check_size, decode_picture, picture_size
from mien.server.envelope import client_gone, instance_of, internal_error
from mien.server.limits import Bound, Room
from mien.server.metrics import Metrics
from mien.server.options import Options, options_from_query
from mien.server.problems import Problem, not_running, problem_of, responses
from mien.server.schemas import ANALYZE_BODY, AnalyzeAnswer
from mien.server.settings import ServerSettings
from mien.server.uploads import Upload, pictures

BYTES_PER_PIXEL = 3
Result = TypeVar("Result")
log = logging.getLogger("mien.server")


class PictureService:
    """Everything between uploaded bytes and results: the bounds, the decoding threads, the batcher.

    Attributes:
        batcher: works on pictures.
        places: how many pictures may wait.
        bodies: how many bytes of bodies there may be.
        room: how many bytes of decoded pictures there may be; more wait in their encoded form.
    """

    def __init__(self, alone: GetAnalyzer, beside: GetAnalyzer, settings: ServerSettings, metrics: Metrics) -> None:
        """Not started yet; see `Batcher`."""
        count = settings.threads or usable_cores()
        self.batcher = Batcher(
            alone,
            beside,
            workers=settings.workers or count,
            most=settings.batch_pictures,
            wait=settings.batch_wait,
            observe=metrics.batch,
        )
        self.places = Bound(settings.queue_pictures, "pictures are waiting")
        self.bodies = Bound(settings.memory, "bytes are being received")
        self.room = Room(settings.memory)
        self._count = max(2, count)
        self._max_pixels = settings.max_pixels
        self._decoders: ThreadPoolExecutor | None = None
        metrics.watch("mien_queue_pictures", "Pictures that wait or are worked on.", lambda: self.places.used)
        metrics.watch("mien_body_bytes", "Bytes of bodies in memory.", lambda: self.bodies.used)
        metrics.watch("mien_picture_bytes", "Bytes of decoded pictures in memory.", lambda: self.room.used)

    @property
    def full(self) -> bool:
        """Whether no further picture is taken."""
        return self.places.used >= self.places.most

    def start(self) -> None:
        """Start the threads."""
        self._decoders = ThreadPoolExecutor(self._count, "mien-decode")
        self.batcher.start()

    def close(self) -> None:
        """End the threads, without waiting for pictures that wait."""
        self.batcher.close()
        if self._decoders is not None:
            self._decoders.shutdown(wait=False, cancel_futures=True)

    async def analyze(self, uploads: Sequence[Upload], options: Options) -> list[dict[str, Any] | Problem]:
        """The result of each picture, or what was wrong with it.

        Raises:
            Problem: 503: too many pictures wait.
        """
        with self.places.taken(len(uploads)):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(upload, options)) for upload in uploads]
            return [task.result() for task in tasks]

    async def _one(self, upload: Upload, options: Options) -> dict[str, Any] | Problem:
        try:
            return await self._analyze(upload, options)
        except Problem as problem:
            return problem
        except MienError as error:
            if not isinstance(error, ValueError):
                log.warning("picture", exc_info=error)
            return problem_of(error)
        except Exception as error:
            log.error("picture", exc_info=error)
            return internal_error()

    async def _analyze(self, upload: Upload, options: Options) -> dict[str, Any]:
        if isinstance(upload.data, Problem):
            raise upload.data
        data = bytes(upload.data)
        upload.data = b""
        size_wh = await self._in_thread(_checked_size, data)
        check_size(size_wh, self._max_pixels)
        async with self.room.taken(size_wh[0] * size_wh[1] * BYTES_PER_PIXEL):
            found = await self._look(data, options)
        return {**found, "source": upload.name}

    async def _look(self, data: bytes, options: Options) -> dict[str, Any]:
        """Decode and wait for the batcher's answer."""
        self.batcher.announce(1)
        try:
            image: Image = await self._in_thread(decode_picture, data, self._max_pixels)
            answer = self.batcher.submit(image, options)
        finally:
            self.batcher.announce(-1)
        del image
        try:
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            answer.cancel()
            self.batcher.drop_cancelled()
            raise

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        inside = copy_context().run  # what is logged there has the request's id
        return await asyncio.get_running_loop().run_in_executor(self._decoders, inside, call, *arguments)


def _checked_size(data: bytes) -> tuple[int, int]:
    check_format(data)
    return picture_size(data)


async def while_waited_for(request: Request, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """What `work` gives. It is cancelled when the client hangs up, and when the time is over.

    Raises:
        Problem: 504, or 499, which nobody gets to see.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        done, _ = await asyncio.wait((task, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
    if gone in done:
        raise client_gone()
    detail = f"no answer within {many(seconds, 'second')}; send fewer or smaller pictures, or try again later"
    raise Problem(504, "timeout", "It took too long", detail)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def answer_document(
    options: Options, classes: Sequence[str], names: Sequence[str], found: Sequence[Any], instance: str
) -> Response:
    """The answer; or the problem, where no picture could be read.

    Raises:
        Problem: 422, or 500 where nothing is wrong with the pictures.
    """
    results = [
        {"source": name, "error": one.to_dict(instance)} if isinstance(one, Problem) else one
        for name, one in zip(names, found, strict=True)
    ]
    wrong = [one for one in found if isinstance(one, Problem)]
    if len(wrong) == len(found):
        raise _all_failed(wrong, results)
    document = {"model": options.model, "classes": list(classes), "results": results}
    return Response(
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace"),
        media_type="application/json",
    )


def _all_failed(wrong: Sequence[Problem], errors: list[dict[str, Any]]) -> Problem:
    if all(problem.status >= 500 for problem in wrong):
        return Problem(500, "failed", "Something failed", wrong[0].detail, errors=errors)
    many = "no picture could be read: " if len(wrong) > 1 else ""
    return Problem(422, "unreadable", "No picture can be read", f"{many}{wrong[0].detail}", errors=errors)


def router(service: PictureService, settings: ServerSettings, metrics: Metrics) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["pictures"])

    @routes.post(
        "/v1/analyze",
        summary="Find the faces of pictures and say what they show",
        response_model=AnalyzeAnswer,
        responses=responses(400, 401, 403, 408, 413, 415, 422, 500, 503, 504),
        openapi_extra=ANALYZE_BODY,
    )
    async def analyze(request: Request, options: Annotated[Options, Depends(options_from_query)]) -> Response:
        if not request.app.state.ready:
            raise not_running()
        service.places.check(1)
        async with pictures(request, settings.max_images, service.bodies) as uploads:
            names = [upload.name for upload in uploads]
            found = await while_waited_for(request, service.analyze(uploads, options), settings.timeout)
        faces = [len(one["faces"]) for one in found if not isinstance(one, Problem)]
        metrics.pictures.inc(len(faces))
        metrics.failed.inc(len(found) - len(faces))
        metrics.faces.inc(sum(faces))
        request.state.notes.update(pictures=len(found), failed=len(found) - len(faces), faces=sum(faces))
        classes = request.app.state.analyzers.get(options).classes
        return answer_document(options, classes, names, found, instance_of(request.scope))

    return routes
