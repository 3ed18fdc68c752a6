"""``/v1/videos``: videos in; rows while they are worked on, and the video with its faces drawn in, out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from mien.server.options import Flag, OptionsQuery, refuse_repeated
from mien.server.problems import Problem, bad_range, not_found, responses
from mien.server.schemas import BoxDocument, ProblemDocument
from mien.server.video_job import STATUSES, VideoJob, Wish
from mien.server.video_jobs import VideoJobs
from mien.server.video_rows import RowReader

__all__ = ["VideoJobs", "router"]

NDJSON = "application/x-ndjson"
AS_THEY_COME = {"X-Accel-Buffering": "no"}
"""Tells nginx, and proxies that follow it, not to hold rows back."""

POLL_SECONDS = 0.1
"""A reader that is level with the work looks for new rows so often."""

MOST_SMOOTHING = 60.0
LARGEST_STRIDE = 1000


class VideoQuery(OptionsQuery):
    """The query options for videos."""

    smooth: float = Field(
        0.5,
        ge=0,
        le=MOST_SMOOTHING,
        allow_inf_nan=False,
        description="Seconds over which the expressions of a face are averaged; 0: not.",
    )
    detect_every: int | None = Field(
        None,
        ge=1,
        le=LARGEST_STRIDE,
        description="Look for faces in the whole of every n-th frame, follow them between; as needed where not given.",
    )
    annotate: Flag = Field(False, description="Draw the faces on the video too: see `links.annotated`.")


class RowsQuery(BaseModel):
    """The query options for rows."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=2**53, description="Pass over so many rows: those that were read already.")


class Links(BaseModel):
    """Addresses, relative to the service's own."""

    self: str
    rows: str
    annotated: str | None = Field(description="Null where it was not asked for, and until it is whole.")


class JobDocument(BaseModel):
    """A video: how far it is, what came of it so far."""

    id: str
    status: str = Field(json_schema_extra={"enum": list(STATUSES)})
    source: str = Field(description="The video's name as it was sent.")
    frames_done: int = Field(ge=0)
    frames_total: int | None = Field(ge=0, description="As the file says, so not always exact.")
    faces: int = Field(ge=0, description="Rows so far.")
    seconds: float = Field(ge=0, description="Worked on so far.")
    error: ProblemDocument | None = Field(description="Why it failed.")
    links: Links


class RowDocument(BaseModel):
    """A line of the rows: a face in a frame."""

    source: str
    frame: int = Field(ge=0)
    time: float = Field(ge=0, description="Seconds since the first frame.")
    track: int | None
    box: BoxDocument
    score: float
    expression: str
    confidence: float
    probabilities: dict[str, float]
    keypoints: dict[str, list[float]]


JobId = Annotated[str, Path(alias="id", max_length=64, description="As `POST /v1/videos` gave it.")]

_PART = {
    "type": "object",
    "required": ["files"],
    "additionalProperties": False,
    "properties": {"files": {"type": "string", "format": "binary", "description": "The video, one a request."}},
}
_BYTES = {
    "type": "string",
    "format": "binary",
    "description": "The video: the body is the file. `video/mp4` and the like are taken too.",
}
_KINDS = {"multipart/form-data": _PART, "application/octet-stream": _BYTES}
_CONTENT = {kind: {"schema": schema} for kind, schema in _KINDS.items()}
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _CONTENT}}

_LOCATION = {"description": "Where the job is, relative to this address.", "schema": {"type": "string"}}
_EXAMPLE = '{"source": "clip.mp4", "frame": 0, "time": 0.0, "track": 1, "box": {"x1": 10.0, ...}, ...}\n'
_ROWS = {"type": "string", "description": "A JSON object a line, a face each.", "examples": [_EXAMPLE]}
_LINKED = ("get_v1_videos_id", "delete_v1_videos_id", "get_v1_videos_id_rows", "get_v1_videos_id_annotated")
_LINKS = {name: {"operationId": name, "parameters": {"id": "$response.body#/id"}} for name in _LINKED}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "It waits, or is worked on.", "headers": {"Location": _LOCATION}, "links": _LINKS}
}
ROWS_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "Rows, as they come.", "content": {NDJSON: {"schema": _ROWS}}}
}
VIDEO_ANSWER: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}}
    for code, text in ((200, "The video."), (206, "The part of it that was asked for."))
}


def router(jobs: VideoJobs) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["videos"])

    @routes.post(
        "/v1/videos",
        summary="Find the faces of a video and say what they show",
        status_code=202,
        response_model=JobDocument,
        responses={**responses(400, 401, 403, 408, 413, 415, 422, 500, 503), **ACCEPTED},
        openapi_extra=BODY,
    )
    async def submit(request: Request, query: Annotated[VideoQuery, Query()]) -> JSONResponse:
        refuse_repeated(request)
        wish = Wish(query.to_options(jobs.analyzers), query.smooth, query.detect_every, query.annotate)
        job = await jobs.take(request, wish)
        return JSONResponse(job.to_dict(), 202, {"Location": f"videos/{job.id}"})

    @routes.get(
        "/v1/videos/{id}",
        summary="How far a video is",
        response_model=JobDocument,
        responses=responses(401, 403, 404, 422, 500),
    )
    async def look(job_id: JobId) -> JSONResponse:
        return JSONResponse(jobs.get(job_id).to_dict())

    @routes.delete(
        "/v1/videos/{id}",
        summary="Cancel a video, forget it and its files",
        response_model=JobDocument,
        responses=responses(401, 403, 404, 422, 500),
    )
    async def delete(job_id: JobId) -> JSONResponse:
        job = await asyncio.to_thread(jobs.delete, job_id)
        return JSONResponse(job.to_dict())

    @routes.get(
        "/v1/videos/{id}/rows",
        summary="What was found, a JSON object a face, while the work goes on",
        response_class=StreamingResponse,
        responses={**responses(401, 403, 404, 422, 500), **ROWS_ANSWER},
    )
    async def rows(request: Request, job_id: JobId, query: Annotated[RowsQuery, Query()]) -> StreamingResponse:
        refuse_repeated(request)
        job = jobs.get(job_id)
        lines = () if request.state.head else stream_rows(job, query.after)  # whoever asks for none waits for none
        return StreamingResponse(lines, media_type=NDJSON, headers=AS_THEY_COME)

    @routes.get(
        "/v1/videos/{id}/annotated",
        summary="The video with its faces drawn in",
        response_class=FileResponse,
        responses={**responses(400, 401, 403, 404, 409, 416, 422, 500), **VIDEO_ANSWER},
    )
    async def annotated(job_id: JobId) -> FileResponse:
        return annotated_file(jobs.get(job_id))

    return routes


async def stream_rows(job: VideoJob, after: int) -> AsyncIterator[bytes]:
    """The rows from one on, until no further one comes. Nothing is read before the client has taken what came before.

    They end early where the job is forgotten.
    """
    try:
        reader = RowReader(job.rows, after)
    except FileNotFoundError:
        return
    try:
        while True:
            over = job.over or job.forgotten
            piece = await asyncio.to_thread(reader.read) if reader.behind else b""
            if piece:
                yield piece
            elif over:
                return
            else:
                await asyncio.sleep(POLL_SECONDS)
    finally:
        reader.close()


def annotated_file(job: VideoJob) -> FileResponse:
    """The answer with the annotated video.

    Raises:
        Problem: 404: there is none; 409: there is none yet.
    """
    if job.annotated is not None:
        return _File(job.annotated, media_type="video/mp4", content_disposition_type="inline")
    if not job.wish.annotate:
        raise not_found("it was not asked for: send the video again with annotate=true")
    if not job.over:
        raise Problem(409, "not-yet", "Not there yet", "the video is still being worked on; its 'status' says how far")
    raise not_found("the video failed before anything was drawn")


class _File(FileResponse):
    """A file that may be forgotten before it is opened, and refuses ranges by a problem document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                raise bad_range(Headers(raw=message["headers"]).get("content-range", ""))
            await send(message)

        try:
            await super().__call__(scope, receive, checked)
        except (FileNotFoundError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "does not exist" not in str(error):
                raise
            raise not_found("the video has been forgotten") from error
