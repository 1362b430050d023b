"""Identify the decoder that made a batch, to notice an upgrade between the phases of a two-phase checkpoint.

See docs/guarantees.md#two-phase-checkpoints.
"""

import hashlib
from functools import cache
from importlib import resources

PACKAGES = ("consumer.decoding", "schemas")  # all code that decides how an event is decoded


def decoder_version(raw: bool, redaction: str = "") -> str:
    """Return twelve hexadecimal digits that change with the decoder's code and settings.

    `redaction` is the fingerprint of a redaction.
    """
    settings = f"raw={raw} redact={redaction}" if redaction else f"raw={raw}"
    return hashlib.sha256(f"{_sources()} {settings}".encode()).hexdigest()[:12]


@cache
def _sources() -> str:
    """Return a hash of the source files. It changes automatically, which a version number does not."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        files = [file for file in resources.files(package).iterdir() if file.name.endswith(".py")]
        for file in sorted(files, key=lambda file: file.name):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
