"""Name the decoder that made a batch."""

import subprocess
import sys
from pathlib import Path

from consumer.decoding.decoder_version import decoder_version

ROOT = Path(__file__).parents[3]


def test_the_version_is_the_same_in_another_process() -> None:
    """A restart of the same release continues its own batch."""
    code = "from consumer.decoding.decoder_version import decoder_version as v; print(v(False))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == decoder_version(raw=False)


def test_the_version_depends_on_the_settings() -> None:
    """`--raw` makes other rows from the same events."""
    assert decoder_version(raw=True) != decoder_version(raw=False)


def test_the_version_has_no_space() -> None:
    """A lease stores it after the name of the batch, separated by a space."""
    assert decoder_version(raw=False).isalnum()
