"""Load botocore's models of services and endpoints with msgspec: they are JSON of two megabytes, read at each start."""

import gzip
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
from botocore.loaders import Loader, create_loader


class _ModelFiles:
    """Read the files of a botocore `Loader`. Paths come without their extension."""

    def exists(self, file_path: str) -> bool:
        return any(Path(file_path + extension).is_file() for extension in (".json", ".json.gz"))

    def load_file(self, file_path: str) -> Any:
        """Return the content of a file, or None if it does not exist."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return msgspec.json.decode(plain.read_bytes())
        return msgspec.json.decode(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


def loader_of(session: botocore.session.Session) -> Loader:
    """Return a loader for a session. It searches where botocore's own would, also in the configured `data_path`."""
    loader = create_loader(session.get_config_variable("data_path"))
    loader.file_loader = _ModelFiles()  # type: ignore[assignment]
    return loader
