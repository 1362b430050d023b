"""Parse the URLs of sinks and lease tables, `scheme:path?option=value`.

The module for a scheme declares its options in a pydantic model; `consumer.plugins` finds that module.
"""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from consumer.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL. `label` names the setting that it came from, for messages."""

    label: str
    scheme: str
    path: str
    options: Mapping[str, str]


def parse(label: str, text: str, known: Collection[str] = ()) -> Url:
    """Parse a URL. `sqlite:FILE` takes the path as typed; `sqlite:///x` is relative and `sqlite:////x` absolute.
    `file:///x` is absolute.

    `label` is the name of the setting. If only the colon is missing, the error suggests one of the `known` schemes.

    Raises:
        ConfigurationError: the URL has no scheme, or an option has no value or is given twice.
    """
    scheme, colon, rest = text.partition(":")
    if not colon and (near := difflib.get_close_matches(text, known, n=1)):
        raise ConfigurationError(f"{label} {text!r}: the colon is missing. Did you mean '{near[0]}:'?")
    if not colon or not scheme:
        raise ConfigurationError(f"{label} {text!r}: write SCHEME:PATH, such as jsonl:rows or sqlite:rows.db")
    if "\0" in rest:
        raise ConfigurationError(f"{label} {scheme}: the path contains a null character")
    path, _, query = rest.partition("?")
    if path.startswith("///"):
        path = path[2:] if scheme == "file" else path[3:]  # file:///x is absolute for every other program
    try:
        # A plus sign is itself, as in libpq's URLs, and not a blank.
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ConfigurationError(f"{label} {scheme}: write options as ?NAME=VALUE&NAME=VALUE") from None
    if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise ConfigurationError(f"{label} {scheme}: option {twice[0]!r} is given twice")
    return Url(label, scheme, path, dict(pairs))


def options_of(url: Url, model: type[BaseModel]) -> Any:
    """Return the URL's options as an instance of the module's `model`.

    Raises:
        ConfigurationError: an option is unknown or its value is invalid.
    """
    try:
        return model.model_validate(dict(url.options))
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]) if problem["loc"] else "?"
        known = sorted(model.model_fields)
        if problem["type"] == "extra_forbidden":
            what = f"unknown option {name!r}.{_near(name, known)} Available: {_list(known)}"
        else:
            what = f"option {name!r}: {problem['msg']}"
        raise ConfigurationError(f"{url.label} {url.scheme}: {what}") from None


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _list(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
