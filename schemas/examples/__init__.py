"""Sample events: Twilio's documented ones verbatim, and others after live reports, with invented numbers."""

from importlib.resources import files


def names() -> list[str]:
    """The samples' names, sorted."""
    return sorted(path.name.removesuffix(".json") for path in files(__name__).iterdir() if path.name.endswith(".json"))


def load(name: str) -> bytes:
    """One sample as it would come from the stream."""
    return files(__name__).joinpath(f"{name}.json").read_bytes()
