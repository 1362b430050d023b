"""`file:DIR`: a directory, in the formats and with the names of an object store. It needs no library for objects."""

from pathlib import Path

from consumer.errors import ConfigurationError
from consumer.sinks import SinkSchema
from consumer.sinks.directory import Directory
from consumer.sinks.objects.formats import chosen, formats_of
from consumer.sinks.objects.options import ObjectOptions
from consumer.sinks.objects.sink import ObjectsSink
from consumer.urls import Url


class Options(ObjectOptions):
    """The format of the files."""


def connect(url: Url, options: Options, contents: SinkSchema) -> ObjectsSink:
    """Return the sink for a URL; `check` creates the directory.

    Raises:
        ConfigurationError: the URL or an option is wrong, or a library is missing.
    """
    if not url.path:
        raise ConfigurationError(f"{url.label} file: name a directory, such as file:rows")
    suffix, formats = chosen(url.label, options.format, contents), formats_of(contents)
    return ObjectsSink(Directory(Path(url.path), url.label, contents.private), formats, suffix)
