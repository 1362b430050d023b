"""Check the arguments of commands that the documentation shows: against the real parser, or the service's model."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import typer
from botocore import xform_name
from botocore.validate import ParamValidator

from consumer.cli import app
from consumer.settings import Settings, load
from tests.docs.blocks import ROOT

# Options of every `aws` command: https://docs.aws.amazon.com/cli/latest/reference/
AWS_OPTIONS = {"region", "query", "output", "profile"}
# What the AWS CLI names otherwise than the service's model, and commands that only the CLI has.
AWS_NAMES = {("lambda", "create-function", "zip-file"): "code"}
AWS_OWN = {("ecr", "get-login-password")}
# Twilio's API: https://www.twilio.com/docs/events/event-streams/sink-resource and …/subscription
TWILIO = {
    r"/v1/Sinks": {"Description", "SinkConfiguration", "SinkType"},
    r"/v1/Sinks/DG\w{32}/Test": set(),
    r"/v1/Subscriptions": {"Description", "SinkSid", "Types"},
}
SINK_CONFIGURATION = {"arn", "role_arn", "external_id"}


def call_consumer(arguments: list[str], folder: Path) -> None:
    """Parse as the program does, and load the settings."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    context = group.make_context("call-consumer", [name])
    command = group.get_command(context, name)  # type: ignore[attr-defined]
    assert command is not None, f"there is no command {name}"
    if hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    given = command.make_context(name, rest, parent=context).params
    config = given.get("config")
    known = {key: value for key, value in given.items() if key in Settings.model_fields}
    load(known, str(folder / config) if config and (folder / config).exists() else None, {})


def make(arguments: list[str], _: Path) -> None:
    """Look for the targets and variables in the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for word in arguments:
        name, is_variable, _value = word.partition("=")
        pattern = rf"\$[({{]{name}\b|\(if \$\({name}\)" if is_variable else rf"^{name}:"
        assert re.search(pattern, makefile, re.MULTILINE), f"make {word}"


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def aws(arguments: list[str], folder: Path) -> None:
    """Look for operation and parameters in botocore's model; validate JSON and `key=value` parameters."""
    service, command, *options = arguments
    if (service, command) in AWS_OWN:
        return None
    model = _model(service)
    if command == "wait":
        waiters = botocore.session.get_session().get_waiter_model(service)
        [name] = [name for name in waiters.waiter_names if xform_name(name, "-") == options[0]]
        command, options = xform_name(waiters.get_waiter(name).operation, "-"), options[1:]
    [operation] = [name for name in model.operation_names if xform_name(name, "-") == command]
    shape = model.operation_model(operation).input_shape
    members = {xform_name(name, "-"): name for name in shape.members}
    given: dict[str, str] = {}
    for option, values in _options(options):
        name = AWS_NAMES.get((service, command, option), option)
        if name == "cli-input-json":
            return _validate(shape, json.loads(_file(values[0], folder)))
        assert name in members or name in AWS_OPTIONS, f"aws {service} {command} --{name}"
        if name in members:
            given[members[name]] = values[0]
            _check_value(shape.members[members[name]], values[0], folder)
    assert set(shape.required_members) <= set(given), f"aws {service} {command} needs {shape.required_members}"
    return None


def _options(words: list[str]) -> list[tuple[str, list[str]]]:
    """Return each `--name` with the words after it."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            found.append((word[2:], []))
        else:
            assert found, f"{word!r} follows no option"
            found[-1][1].append(word)
    return found


def _file(address: str, folder: Path) -> str:
    return (folder / re.sub(r"^fileb?://", "", address)).read_text("utf-8")


def _check_value(shape: Any, value: str, folder: Path) -> None:
    if value.startswith("file://"):
        json.loads(_file(value, folder))
    elif shape.type_name == "structure" and "=" in value:
        _check_shorthand(shape, value)
    elif getattr(shape, "enum", None):
        assert value in shape.enum, value


def _check_shorthand(shape: Any, value: str) -> None:
    """Check `Key=value,Key=value`; of nested values only the outermost key."""
    for pair in value.split(",") if "{" not in value else [value]:
        key, _, inner = pair.partition("=")
        assert key in shape.members, f"{key} is not one of {list(shape.members)}"
        allowed = getattr(shape.members[key], "enum", None)
        assert not allowed or inner in allowed, f"{inner} is not one of {allowed}"


def _validate(shape: Any, parameters: Any) -> None:
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()


def curl(arguments: list[str], _: Path) -> None:
    """Check path and form fields of a call to Twilio's API."""
    [address] = [word for word in arguments if word.startswith("https://")]
    assert urlsplit(address).netloc == "events.twilio.com"
    [fields] = [names for path, names in TWILIO.items() if re.fullmatch(path, urlsplit(address).path)]
    forms = [arguments[at + 1] for at, word in enumerate(arguments) if word in ("-d", "--data-urlencode")]
    given = dict(form.split("=", 1) for form in forms)
    assert set(given) == fields, f"{address} takes {fields}"
    if "SinkConfiguration" in given:
        assert set(json.loads(given["SinkConfiguration"])) == SINK_CONFIGURATION
    for types in [form.split("=", 1)[1] for form in forms if form.startswith("Types=")]:
        assert set(json.loads(types)) <= {"type", "schema_version"}


CHECKS: dict[str, Callable[[list[str], Path], None]] = {
    "call-consumer": call_consumer,
    "make": make,
    "aws": aws,
    "curl": curl,
}
# What each stub prints.
PRINTED = {"aws": "arn:aws:iam::111122223333:role/stub", "curl": '{"sid": "DG' + "0" * 32 + '"}'}
