"""The options that every store of objects has, and the parts of its URL."""

import re

from pydantic import BaseModel

from consumer.errors import ConfigurationError
from consumer.setting_values import Tags
from consumer.sinks.objects.formats import FormatName
from consumer.urls import Url

# Characters that every service and reader takes in the name of an object without an escape.
PREFIX = re.compile(r"[A-Za-z0-9!_.*'()=/ -]*")


class ObjectOptions(BaseModel, extra="forbid"):
    """The format of the objects."""

    format: FormatName = "jsonl.gz"


class TaggedOptions(ObjectOptions):
    """The format and the tags of the objects."""

    tags: Tags = {}


def bucket_and_prefix(url: Url, noun: str = "bucket") -> tuple[str, str]:
    """Return the bucket and the prefix of `s3://BUCKET/PREFIX`. The prefix may be empty.

    Raises:
        ConfigurationError: the URL has another form.
    """
    bucket, _, prefix = url.path.removeprefix("//").partition("/")
    if not url.path.startswith("//") or not bucket:
        raise ConfigurationError(f"{url.label}: say {url.scheme}://{noun.upper()}/PREFIX")
    prefix = prefix.strip("/")
    if PREFIX.fullmatch(prefix) is None or {"", ".", ".."} & set(prefix.split("/") if prefix else ()):
        raise ConfigurationError(
            f"{url.label} {url.scheme}: the prefix may contain letters, digits, blanks, / and !_.*'()=- only, and no"
            " part of it may be empty, . or .."
        )
    return bucket, prefix


def named(url: Url, bucket: str, prefix: str) -> str:
    """Return the setting and the place for messages. Options are left out: some are secrets."""
    return f"{url.label} {url.scheme}://{bucket}{'/' * bool(prefix)}{prefix}"
