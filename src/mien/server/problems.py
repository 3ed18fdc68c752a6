"""What goes wrong, as RFC 9457 has it: ``application/problem+json``. Nothing of the machine stands in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from mien.errors import DataError, MienError, MissingExtraError, ModelError
from mien.frames import printable, reason

MEDIA_TYPE = "application/problem+json"

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. `type` names the kind of problem; further members depend on it.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/too-large"]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request: its path, and its id as in the log."},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
"""The schema of every problem document, as ``#/components/schemas/Problem`` in the OpenAPI document."""

DESCRIPTIONS = {
    400: "The request cannot be parsed.",
    401: "A token is needed, or it is the wrong one.",
    403: "The request comes from another site, or from a host name that is not allowed.",
    404: "There is no such thing here.",
    405: "This method is not allowed here.",
    408: "The body took too long to come.",
    409: "It is not in a state that allows this.",
    411: "A length is needed.",
    413: "Too large, or too many pictures.",
    415: "The body is of a kind that is not taken here.",
    416: "The file has no such range of bytes.",
    422: "The request was understood, but cannot be done: an option is out of range, or no picture can be read.",
    431: "The headers are too large.",
    500: "Something failed here; the log says what, under the id in `instance`.",
    503: "Busy; try again after the seconds in Retry-After.",
    504: "It took longer than the service allows.",
}
"""What each status means, for the OpenAPI document."""

_PATH = re.compile(r"(?<![\w.:/<])(?:[A-Za-z]:)?[\\/](?:[^\s\\/:'\",;]+[\\/])*([^\s\\/:'\",;]+)")
"""An absolute path, of any system; its last part is the group."""


class Problem(Exception):  # noqa: N818 (RFC 9457's word)
    """A request that cannot be answered as asked. Raised anywhere, answered as a problem document.

    Attributes:
        status: HTTP status, 400 to 599.
        kind: last part of the ``type`` address: ``too-large``.
        title: what kind of problem it is, the same sentence for each of the kind.
        detail: what is wrong this time and how to mend it.
        headers: further headers of the answer, such as ``Retry-After``.
        more: further members of the document, JSON-ready.
    """

    def __init__(
        self, status: int, kind: str, title: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(f"{status} {kind}: {detail}")
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def to_dict(self, instance: str = "") -> dict[str, Any]:
        """The problem document; `instance` is the request it is about: its path and id."""
        document = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": printable(self.detail),
            "instance": instance,
        }
        return {**document, **self.more}

    def to_response(self, instance: str = "") -> Response:
        """The answer."""
        text = json.dumps(self.to_dict(instance), ensure_ascii=False, allow_nan=False)
        body = text.encode("utf-8", "backslashreplace")
        return Response(body, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def problem_of(error: MienError) -> Problem:
    """What an error of mien's means to a client: 422 for pictures and options, else 500; without paths."""
    if isinstance(error, DataError):
        return Problem(422, "unreadable", "The picture or video cannot be read", without_paths(reason(error)))
    if isinstance(error, MissingExtraError):
        return Problem(501, "not-installed", "Not installed here", without_paths(str(error)))
    if isinstance(error, ModelError):
        return Problem(500, "model-failed", "The model failed", "The model cannot be used; the log says why.")
    return Problem(422, "wrong-option", "An option is wrong", without_paths(str(error)))


def too_busy(detail: str, seconds: int = 1) -> Problem:
    """503: nothing more is taken for now."""
    return Problem(503, "busy", "Too busy", detail, {"Retry-After": str(max(1, seconds))})


def not_running() -> Problem:
    """503: before the service's start, and from its end on."""
    return too_busy(
        "the service is not running: it is starting or ending, or the app around it does not run its lifespan", 5
    )


def too_large(detail: str, **more: Any) -> Problem:
    """413: more bytes, pixels or pictures than allowed."""
    return Problem(413, "too-large", "Too large", detail, **more)


def not_a_video(detail: str) -> Problem:
    """415: the bytes are those of something else."""
    return Problem(415, "not-a-video", "Not a video", detail)


def not_found(detail: str) -> Problem:
    """404."""
    return Problem(404, "not-found", "Not found", detail)


def bad_range(content_range: str = "") -> Problem:
    """416, with the ``Content-Range`` of the answer, ``bytes */SIZE``; without it 400: the header cannot be parsed."""
    detail = "the Range header must be 'bytes=FIRST-LAST', counted from 0, within the file"
    if not content_range:
        return Problem(400, "bad-range", "No such range", detail)
    detail += f", which has {content_range.rpartition('/')[2]} bytes"
    return Problem(416, "bad-range", "No such range", detail, {"Content-Range": content_range})


def without_paths(text: str) -> str:
    """The text with each absolute path cut down to its last part."""
    return _PATH.sub(lambda found: found[1], text)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problem answers as FastAPI's ``responses=`` takes them."""
    schema = {"$ref": "#/components/schemas/Problem"}
    answers: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        answers[status] = {"description": DESCRIPTIONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        if status == 503:
            seconds = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            answers[status]["headers"] = {"Retry-After": seconds}
    return answers
