"""Sample events: Twilio's documented ones verbatim, and others after live reports, with invented numbers."""

from importlib.resources import files


def names() -> list[str]:
    """Return the names of the samples, sorted."""
    return sorted(path.name.removesuffix(".json") for path in files(__name__).iterdir() if path.name.endswith(".json"))


def load(name: str) -> bytes:
    """Return the bytes of one sample, as a record of the stream would hold them."""
    return files(__name__).joinpath(f"{name}.json").read_bytes()
