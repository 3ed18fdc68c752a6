"""What `mien train` and `mien tune` make of their options: a recipe or a file, with single fields changed."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.console import load_keras
from mien.errors import UsageError, unknown_choice

if TYPE_CHECKING:
    from mien.config import TrainingConfig


def starting_from(
    context: typer.Context, recipe: str, file: Path | None, given: dict[str, Any], others: dict[str, Any]
) -> TrainingConfig:
    """The config of a recipe or of a file, with the fields changed that options name.

    A recipe's network gives way to that of the model which training begins with, unless an option names one. A file's
    stays: it was named there.

    Args:
        context: knows which options are on the command line.
        recipe: its name.
        file: ``--config``; options that are not on the command line leave what it says.
        given: fields and values of the options that are on the command line; ``size`` and ``channels`` are the input's.
        others: fields and values of ``--set``, likewise; ``augmentation.FIELD`` is one of the policy's.

    Raises:
        UsageError: a recipe is named beside the file, a value is refused, or there is no model to begin with.
        ModelError: the model that training begins with cannot be read.
    """
    from mien.config import AugmentationPolicy, TrainingConfig, read_config
    from mien.recipes import recipe as settings

    names = [f"augmentation.{entry.name}" for entry in fields(AugmentationPolicy)]
    known = {*names, *(entry.name for entry in fields(TrainingConfig)), "size", "channels"}
    for name, value in others.items():
        if name.startswith("augmentation.") and name not in names:
            raise unknown_choice("--set", name, names)
        if name not in known:
            _refuse_option(context, name, value)
        _refuse_part(name, value)
    chosen = {**given, **others}
    if file is None:
        return _found_from_anywhere(settings(recipe, **_network_of_init(chosen), **_with_sides(chosen, {})))
    if on_command_line(context, "recipe"):
        raise UsageError("--config: stands instead of --recipe; leave one out")
    base = read_config(file).to_dict()
    return _found_from_anywhere(TrainingConfig.from_dict({**base, **_with_sides(chosen, base["input"])}))


def _refuse_option(context: typer.Context, name: str, value: Any) -> None:
    """Refuse what is no setting of training, but an option of the command.

    Raises:
        UsageError: names the option.
    """
    for parameter in context.command.params:
        options = [option for option in parameter.opts if option.startswith("--")]
        if options and name.replace("-", "_") in (parameter.name, options[0].lstrip("-").replace("-", "_")):
            given = "" if isinstance(value, bool) else f" {shlex.quote(str(value))}"
            raise UsageError(f"--set: {name} has an option of its own; give {options[0]}{given}")


def _refuse_part(name: str, value: Any) -> None:
    """Refuse a value for one of the settings that have parts, where it is none of the forms that `--set` takes.

    Raises:
        UsageError: says which there are.
    """
    if name == "input" and not isinstance(value, dict):
        raise UsageError(f"--set: input: has a size and channels; give size=48 or channels=3, received {value!r}")
    if name == "augmentation" and not isinstance(value, str | dict):
        from mien.config import AUGMENTATIONS

        raise UsageError(f"--set: augmentation: must be a name ({', '.join(AUGMENTATIONS)}), received {value!r}")


def _found_from_anywhere(config: TrainingConfig) -> TrainingConfig:
    """The config with whole paths of its models, so that a run goes on anywhere; bundled ones keep their name."""
    teachers, init = tuple(map(_whole_path, config.teachers)), config.init and _whole_path(config.init)
    return replace(config, teachers=teachers, init=init)


def _whole_path(model: str) -> str:
    from mien.weights import BUNDLED

    return model if model in BUNDLED else str(Path(model).expanduser().resolve())


def _with_sides(chosen: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Settings whose ``size`` and ``channels`` have become parts of their input; `base` is what it is without them."""
    sides = {name: value for name, value in chosen.items() if name in ("size", "channels")}
    rest = {name: value for name, value in chosen.items() if name not in sides}
    whole = rest.get("input", {})
    if isinstance(whole, dict) and (sides or whole):
        rest["input"] = {**base, **whole, **sides}
    return rest


def _network_of_init(chosen: dict[str, Any]) -> dict[str, Any]:
    """The network of the model that training begins with, as a setting; nothing where its file holds none of mien's.

    Nothing too where training begins with no model, or where a network is named.
    """
    init = chosen.get("init")
    if "network" in chosen or not init or not isinstance(init, str):
        return {}
    load_keras("init")
    from mien.trainee import network_in

    name = network_in(_whole_path(init))
    return {"network": name} if name else {}


def on_command_line(context: typer.Context, parameter: str) -> bool:
    """Whether a parameter was given, rather than left at its default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def assigned(assignments: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """Fields and values of ``--set``: JSON where it can be read so, a list of numbers with commas, else text.

    Raises:
        UsageError: there is no equals sign, or the field has been given twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"--set: must be FIELD=VALUE, such as mixup=0.2; received {assignment!r}")
        if name in values or name in given:
            raise UsageError(f"--set: {name} is given twice; leave one out")
        values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    try:
        value = json.loads(f"[{text.rstrip(',')}]" if "," in text and text[:1] not in "[{" else text)
    except json.JSONDecodeError:
        return text
    return value
