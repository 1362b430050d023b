"""Botocore's description of Kinesis, found and read at once: half of what it costs to make a client, 40 ms of CPU."""

import gzip
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from botocore.loaders import JSONFileLoader, Loader


class _Files(JSONFileLoader):  # type: ignore[misc,unused-ignore]
    def load_file(self, file_path: str) -> Any:
        """What a file holds, which has no suffix yet; None if there is none."""
        with suppress(FileNotFoundError), open(f"{file_path}.json", "rb") as file:
            return msgspec.json.decode(file.read())
        with suppress(FileNotFoundError), gzip.open(f"{file_path}.json.gz") as file:
            return msgspec.json.decode(file.read())
        return None


class Models(Loader):  # type: ignore[misc,unused-ignore]
    """Botocore's loader, for Kinesis alone: it would look through the folders of four hundred services first."""

    def __init__(self, search_paths: Sequence[str]) -> None:
        super().__init__(list(search_paths), _Files(), include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:
        """Services with a model of this type."""
        return ["kinesis"]
