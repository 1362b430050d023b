"""Make command-line flags from the settings model, so that each setting is declared once."""

import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Literal, get_args, get_origin

import typer
from pydantic import ByteSize

from consumer.setting_values import written
from consumer.settings import PREFIX, Settings, flag

Stream = Annotated[str | None, typer.Argument(help="Name or ARN of the stream.", show_default=False, metavar="STREAM")]
Config = Annotated[str | None, typer.Option("--config", help="TOML file with any of these settings.", metavar="FILE")]
Command = Callable[..., None]
# What stands for a value in the help: by its type, and for texts that are not a name by the setting.
NUMBERS = {ByteSize: "BYTES", float: "SECONDS", int: "COUNT"}
TEXTS = {
    "sink": "URL",
    "dead_letters": "URL",
    "leases": "URL",
    "from_": "TIME",
    "on_rejected": "REASON=POLICY",
    "redact": "strict|CATEGORY=ACTION",
    "redact_key_file": "FILE",
    "halt_share": "SHARE",
    "endpoint_url": "URL",
    "stream_role_arn": "ARN",
    "leases_role_arn": "ARN",
    "http": "ADDRESS:PORT",
}


def with_settings(command: Command) -> Command:
    """Give a command that takes `**flags` one flag per setting; a flag that is not given is None."""
    return with_some_settings(Settings.model_fields)(command)


def with_some_settings(shown: Collection[str]) -> Callable[[Command], Command]:
    """Give a command one flag per setting, like `with_settings`, but show only some of them in the help."""

    def decorate(command: Command) -> Command:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [_parameter(name, name not in shown) for name in Settings.model_fields if name != "stream"]
        command.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*own, *made]}
        return command

    return decorate


def _parameter(name: str, hidden: bool) -> inspect.Parameter:
    field = Settings.model_fields[name]
    kind = bool if field.annotation is bool else str
    default = "" if field.default in (None, "", False) else f" [default: {written(field.default)}]"
    help_text = f"{field.description}{default} [env: {PREFIX}{name.rstrip('_').upper()}]"
    option = typer.Option(flag(name), help=help_text, show_default=False, metavar=_metavar(name), hidden=hidden)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(name: str) -> str | None:
    """Return what stands for the value in the help: its choices, or its kind."""
    annotation = Settings.model_fields[name].annotation
    if annotation is bool:
        return None
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    numbers = [NUMBERS[kind] for kind in _types(annotation) if kind in NUMBERS]
    return TEXTS.get(name) or (numbers[0] if numbers else "NAME")


def _types(annotation: object) -> Iterator[type]:
    """Yield the types in an annotation such as `Annotated[float, Field(gt=0)] | None`."""
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from _types(part)
