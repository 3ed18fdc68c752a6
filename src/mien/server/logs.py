"""Logs: a line an event, as text or JSON, on stderr. File names, contents and the token never stand in them."""

from __future__ import annotations

import json
import logging
import time
import traceback
from contextvars import ContextVar
from typing import Any

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered; also of the one that brought the video which is being worked on."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""Attributes that every log record has; what is beside them came through ``extra``."""


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says: time, level, event, then what was given with it."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    said = {"time": f"{seconds}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
    said["event"] = record.getMessage()
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if "id" not in extra and REQUEST_ID.get():
        said["id"] = REQUEST_ID.get()
    if record.exc_info and record.exc_info[1] is not None:
        extra["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
    return {**said, **extra}


class JsonLines(logging.Formatter):
    """Each record as a JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(fields(record), ensure_ascii=True, default=str)


class TextLines(logging.Formatter):
    """Each record as ``time level event name=value ...``; a traceback on the lines below."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = fields(record)
        trace = said.pop("traceback", "")
        head = " ".join(str(said.pop(name)) for name in ("time", "level", "event"))
        rest = " ".join(f"{name}={json.dumps(value, ensure_ascii=True, default=str)}" for name, value in said.items())
        return f"{head} {rest}".rstrip() + (f"\n{trace.rstrip()}" if trace else "")


def set_up(style: str = "text", level: str = "info") -> None:
    """Send the service's log to stderr, and errors of what it is built on. Their warnings anybody can cause.

    Args:
        style: one of `FORMATS`.
        level: one of `LEVELS`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    others = dict.fromkeys(("uvicorn", "python_multipart", "asyncio"), "ERROR")
    for name, least in {"mien.server": level.upper(), **others}.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(least)
        logger.propagate = False
