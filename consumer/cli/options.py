"""Flags made from the settings model, so that each setting is declared once."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from consumer.settings import PREFIX, Settings, flag


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `**flags` one flag for each setting; a flag that is not given is None."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    made = [_parameter(name) for name in Settings.model_fields if name != "stream"]
    command.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *made]}
    return command


def _parameter(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    kind = bool if field.annotation is bool else str
    default = field.default if field.default not in (None, "", False) else None
    text = f"{field.description}" + (f" [default: {_shown(default)}]" if default is not None else "")
    option = typer.Option(
        flag(name), help=f"{text} [env: {PREFIX}{name.rstrip('_').upper()}]", show_default=False, metavar=_metavar(kind)
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(kind: type) -> str | None:
    return None if kind is bool else "VALUE"


def _shown(value: Any) -> str:
    return (
        value.human_readable()
        if hasattr(value, "human_readable")
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
