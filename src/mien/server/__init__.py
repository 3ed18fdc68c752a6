"""`mien serve` as a library: `create_app`, `Analyzers`, `ServerSettings`. Needs the extra ``serve``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from mien.server.app import create_app
    from mien.server.options import Options
    from mien.server.registry import Analyzers
    from mien.server.settings import ServerSettings

__all__ = ["Analyzers", "Options", "ServerSettings", "create_app"]

_HOMES = {"Analyzers": "registry", "Options": "options", "ServerSettings": "settings", "create_app": "app"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing the package needs nothing that an extra installs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    # ONNX Runtime reports to its maker as soon as it is imported, unless told not to. Nothing leaves the machine here.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        raise MissingExtraError("mien serve", "serve") from error
