"""What requests and answers look like, for the OpenAPI document. Answers themselves come from results' ``to_dict``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class BoxDocument(BaseModel):
    """Pixels of the upright picture; (0, 0) is its upper left corner."""

    x1: float
    y1: float
    x2: float
    y2: float


class FaceDocument(BaseModel):
    """A face and what it shows."""

    track: int | None = Field(description="The same number for the same face all along a video; null in pictures.")
    box: BoxDocument
    score: float = Field(ge=0, le=1, description="How sure the detector is that it is a face.")
    expression: str = Field(description="The most probable class, or `uncertain`.")
    confidence: float = Field(ge=0, le=1.001)
    probabilities: dict[str, float]
    keypoints: dict[str, list[float]] = Field(description="Name to [x, y]; left is the person's left.")


class ProblemDocument(BaseModel):
    """RFC 9457. `type` names the kind of problem; further members depend on it."""

    type: str = Field(examples=["/problems/too-large"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str = Field(description="The request: its path, and after # its id in the log.")


class ResultDocument(BaseModel):
    """A picture's faces, largest first; or, in `error`, why there are none to be had."""

    source: str = Field(description="The picture's name as it was sent.")
    frame: int | None = None
    time: float | None = None
    size_wh: list[int] | None = Field(None, min_length=2, max_length=2)
    faces: list[FaceDocument] | None = None
    error: ProblemDocument | None = None


class AnalyzeAnswer(BaseModel):
    """Results in the order of the pictures."""

    model: str
    classes: list[str]
    results: list[ResultDocument] = Field(min_length=1)


class ModelDocument(BaseModel):
    """A model that is served."""

    name: str
    default: bool
    classes: list[str]
    input: list[int] = Field(description="Height, width, channels.", min_length=3, max_length=3)
    parameters: int
    trained_on: dict[str, Any]
    scores: dict[str, Any]
    temperature: float


class ModelsAnswer(BaseModel):
    """What requests may ask for, and what they may send."""

    models: list[ModelDocument] = Field(min_length=1)
    detectors: list[str]
    tta: list[str]
    limits: dict[str, int | float]


class StatusAnswer(BaseModel):
    """How the service is."""

    status: str


_PARTS = {
    "type": "object",
    "required": ["files"],
    "additionalProperties": False,
    "properties": {
        "files": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "format": "binary"},
            "description": "The pictures, each a part of its own; all parts have this name.",
        },
    },
}
_JSON = {
    "type": "object",
    "required": ["images"],
    "additionalProperties": False,
    "properties": {
        "images": {
            "type": "array",
            "minItems": 1,
            "description": 'A list of pictures, each `{"data": "BASE64", "name": "a.jpg"}`; the name may be left out.',
            "items": {
                "type": "object",
                "required": ["data"],
                "additionalProperties": False,
                "properties": {
                    "data": {
                        "type": "string",
                        "description": "The picture's bytes as base64; `data:image/png;base64,` may stand before it.",
                        "contentEncoding": "base64",
                    },
                    "name": {"type": "string"},
                },
            },
        }
    },
}

_BYTES = {
    "type": "string",
    "format": "binary",
    "description": "One picture: the body is the file. `image/jpeg` and the like are taken too.",
}

ANALYZE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _PARTS},
            "application/json": {"schema": _JSON},
            "application/octet-stream": {"schema": _BYTES},
        },
    }
}
"""The body of ``POST /v1/analyze``, as FastAPI's ``openapi_extra`` takes it."""
