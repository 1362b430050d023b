"""Find the module for the scheme of a URL: one of ours, or one that another package registers as an entry point."""

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from consumer.errors import ConfigurationError
from consumer.urls import Url

MEMBERS = ("Options", "connect")


def module_of(url: Url, ours: Mapping[str, str], group: str, noun: str = "sink") -> Any:
    """Return the module for the URL's scheme. `noun` names the kind of module in messages.

    Raises:
        ConfigurationError: no package, or more than one, has such a module, or it cannot be imported.
    """
    installed = _installed(group, tuple(sys.path))
    found = [point for point in installed if point.name == url.scheme]
    if len(found) + (url.scheme in ours) > 1:
        raise ConfigurationError(_ambiguous(url, ours, found, noun))
    if url.scheme in ours:
        return importlib.import_module(ours[url.scheme])
    if not found:
        raise ConfigurationError(_unknown(url, sorted({*ours, *installed.names}), group, noun))
    return _load(url, found[0], noun)


@cache
def _installed(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of all packages on the path. Reading their metadata takes a few percent of a start."""
    return entry_points(group=group)


def _load(url: Url, point: EntryPoint, noun: str) -> Any:
    try:
        module = point.load()
    except Exception as error:  # importing runs the package's own code
        raise ConfigurationError(_broken(url, point, noun, f"{type(error).__name__}: {error}")) from None
    if missing := [name for name in MEMBERS if not hasattr(module, name)]:
        raise ConfigurationError(_broken(url, point, noun, f"it lacks {' and '.join(missing)}"))
    return module


def _broken(url: Url, point: EntryPoint, noun: str, why: str) -> str:
    what, reason = f"cannot load the {noun} of {_package(point)}", " ".join(why.split())  # one line
    return f"{url.label} {url.scheme}: {what}: {reason}. Install or repair the package"


def _ambiguous(url: Url, ours: Mapping[str, str], found: Sequence[EntryPoint], noun: str) -> str:
    owners = (["call-consumer"] if url.scheme in ours else []) + sorted(_package(point) for point in found)
    return f"{url.label}: {noun} {url.scheme!r} is registered by {' and by '.join(owners)}. Uninstall all but one"


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version} ({point.value})" if point.dist else point.value


def _unknown(url: Url, known: Sequence[str], group: str, noun: str) -> str:
    near = difflib.get_close_matches(url.scheme, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = "" if near else f". A package adds another by an entry point in the group {group!r}"
    return f"{url.label}: unknown {noun} {url.scheme!r}.{hint} Available: {', '.join(known)}{more}"
