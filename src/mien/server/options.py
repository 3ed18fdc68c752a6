"""What a request may ask for: the query options, named as those of ``mien predict``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mien.errors import UsageError, unknown_choice
from mien.server.problems import Problem, problem_of

LEAST_FACE = 12
LARGEST_FACE = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """How pictures are analysed. Hashable: requests with equal options are worked on together.

    Attributes:
        model: name of one of the models that are served.
        detector: ``mtcnn`` or ``none``.
        min_face_size: side of the smallest face to look for, pixels; None for the detector's default.
        margin: how far boxes are widened, as a fraction; None for what the model says.
        align: whether faces are turned so that their eyes are level.
        tta: views of each face, a key of `mien.views.TTA`.
        min_confidence: below it an expression is uncertain, 0 to 1.
    """

    model: str
    detector: str = "mtcnn"
    min_face_size: int | None = None
    margin: float | None = None
    align: bool = False
    tta: str = "none"
    min_confidence: float = 0.0


def _as_bool(value: object) -> object:
    """``true`` and ``false`` only, as the OpenAPI document says; not pydantic's ``yes``, ``on`` and ``1``."""
    if not isinstance(value, str):
        return value
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


Flag = Annotated[bool, BeforeValidator(_as_bool)]
"""A query option that is ``true`` or ``false``."""


class OptionsQuery(BaseModel):
    """The query options. A route with further ones subclasses it; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str | None = Field(None, description="Name of a model that `/v1/models` lists.")
    detector: Literal["mtcnn", "none"] = Field("mtcnn", description="none: each picture is a face, cut out already.")
    min_face_size: int | None = Field(
        None, ge=LEAST_FACE, le=LARGEST_FACE, description="Smallest face to look for, pixels; 20 where not given."
    )
    margin: float | None = Field(
        None, ge=-0.4, le=1, description="Widen boxes by this share on each side; as the model says where not given."
    )
    align: Flag = Field(False, description="Turn faces so that their eyes are level.")
    tta: Literal["none", "flip", "full"] = Field("none", description="Views of each face to average.")
    min_confidence: float = Field(0.0, ge=0, le=1, description="Call a face less sure than this uncertain.")

    def to_options(self, analyzers: Any) -> Options:
        """The options, with the default model where none was asked for.

        Args:
            analyzers: a `mien.server.registry.Analyzers`.

        Raises:
            Problem: 422: there is no such model here, or options do not go together.
        """
        values = {item.name: getattr(self, item.name) for item in fields(Options)}
        model = analyzers.default if self.model is None else self.model
        if model not in analyzers.names:
            raise problem_of(unknown_choice("model", model, analyzers.names))
        if self.min_face_size is not None and self.detector == "none":
            raise problem_of(UsageError("min_face_size: is for detectors that look for faces, not for 'none'"))
        return Options(**{**values, "model": model})


def refuse_repeated(request: Request) -> None:
    """Refuse a query option that is given more than once: which one is meant is not clear.

    Raises:
        Problem: 422.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Problem(422, "wrong-option", "An option is wrong", f"{', '.join(twice)}: given more than once")


def options_from_query(request: Request, query: Annotated[OptionsQuery, Query()]) -> Options:
    """A FastAPI dependency, ``Annotated[Options, Depends(options_from_query)]``: the query as `Options`.

    A route with further query options takes ``Annotated[VideoQuery, Query()]``, where VideoQuery subclasses
    `OptionsQuery`, calls `refuse_repeated(request)` and ``query.to_options(request.app.state.analyzers)`` itself.

    Raises:
        Problem: 422.
    """
    refuse_repeated(request)
    return query.to_options(request.app.state.analyzers)
