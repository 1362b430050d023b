"""Create decoders from the settings, and say what happens to events that they reject."""

from collections.abc import Callable
from pathlib import Path

from consumer.decoding.decoder import Decoder
from consumer.decoding.decoder_version import decoder_version
from consumer.decoding.personal_data import Redaction
from consumer.errors import ConfigurationError
from consumer.files.disk import reason_of
from consumer.pipeline.rejections import BreakerLimits
from consumer.records import Shard
from consumer.redaction_choice import choice_of
from consumer.rejection_policy import Policies, policies_of
from consumer.settings import Settings, flag

SHORTEST_KEY = 16  # bytes; a shorter key can be found by trying
ORIGINALS = ("raw", "other_events")  # settings that write original events


def decoders(settings: Settings, stream_name: str, *, keep_data: bool) -> Callable[[Shard], Decoder]:
    """Return a function that creates the decoder of a shard. `keep_data`: the sink can reject a row.

    Raises:
        ConfigurationError: the settings of redaction are wrong.
    """
    redaction = redaction_of(settings)
    return lambda shard: Decoder(stream_name, shard, settings.raw, keep_data, redaction)


def rejections_of(settings: Settings) -> tuple[Policies, BreakerLimits]:
    """Return what happens to rejected events."""
    limits = BreakerLimits(settings.halt_share, settings.halt_minimum, settings.halt_window)
    return policies_of(settings.on_rejected), limits


def version_of(settings: Settings) -> str:
    """Return what identifies the decoder and its settings, for two-phase checkpoints."""
    return decoder_version(settings.raw, redaction_of(settings).fingerprint)


def redaction_of(settings: Settings) -> Redaction:
    """Return the redaction that the settings choose.

    Raises:
        ConfigurationError: a hash has no key, or original events would be written in spite of `strict`.
    """
    choice = choice_of(settings.redact)
    for name in ORIGINALS if choice.strict else ():
        if getattr(settings, name, None):
            raise ConfigurationError(f"--redact strict: {flag(name)} writes original events: leave one of them out")
    if choice.hashes and not settings.redact_key_file:
        raise ConfigurationError("--redact with =hash needs a key: --redact-key-file FILE")
    return Redaction(choice, _key(settings.redact_key_file) if choice and settings.redact_key_file else b"")


def _key(file: str) -> bytes:
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"--redact-key-file {file}: {reason_of(error)}") from None
    if len(key) < SHORTEST_KEY:
        raise ConfigurationError(
            f"--redact-key-file {file}: {len(key)} bytes are too short for a key: write {SHORTEST_KEY} or more,"
            " for example by openssl rand -hex 32"
        )
    return key
