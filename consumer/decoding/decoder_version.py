"""Which decoder made a batch: an upgrade between the two halves of a two-phase checkpoint must be noticed."""

import hashlib
from functools import cache
from importlib import resources

PACKAGES = ("consumer.decoding", "schemas")  # all that decides what an event becomes


def decoder_version(raw: bool) -> str:
    """Return twelve hexadecimal digits that change with the decoder's code and with the settings that it takes."""
    return hashlib.sha256(f"{_sources()} raw={raw}".encode()).hexdigest()[:12]


@cache
def _sources() -> str:
    """Hash the source files: unlike a version number, that cannot be forgotten. A comment's change costs nothing."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        files = [file for file in resources.files(package).iterdir() if file.name.endswith(".py")]
        for file in sorted(files, key=lambda file: file.name):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
