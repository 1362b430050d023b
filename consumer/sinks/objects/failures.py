"""Describe an error of obstore in one line. Its own text has many lines, with addresses that may hold a signature."""

import re
from typing import NamedTuple

from consumer.aws.codes import is_transient
from consumer.aws.reasons import one_line
from consumer.errors import where

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
MESSAGE = re.compile(r"<Message>\s*([^<\n]+)")
DEBUG = "\n\nDebug source:"  # the rest of the text repeats the error as a data structure
# Words in the debug text of a request without a response, and what to say about them.
CERTIFICATE = re.compile(r"invalid peer certificate: (?:Other\(OtherError\()?\"?(\w+)")
WITHOUT_RESPONSE = {
    "ConnectionRefused": "connection refused: check that it is running",
    "Connection refused": "connection refused: check that it is running",
    "dns error": "unknown host: check its name",
    "ConnectionReset": "the connection was reset",
    "IncompleteMessage": "the connection was closed without a response",
    "kind: Timeout": "no response in time",
    "TimedOut": "no response in time",
}
REDIRECTED = "Received redirect without LOCATION"


class Failure(NamedTuple):
    """Why a call failed. `lasting`: a later call will fail too. `code`: the service's error code, or ""."""

    words: str
    lasting: bool
    code: str = ""
    status: int = 0
    without_credentials: bool = False


def failure_of(error: Exception) -> Failure:
    """Return why a call of obstore failed, for any error."""
    text = str(error)
    shown, _, debug = text.partition(DEBUG)
    if found := STATUS.search(shown):
        return _of_response(int(found[1]), shown)
    if REDIRECTED in shown:
        return Failure("the service redirects the request", True, "PermanentRedirect", 301)
    if "External AWS credential provider" in shown:
        return Failure("no AWS credentials", False, without_credentials=True)
    if certificate := CERTIFICATE.search(debug):
        return Failure(f"the certificate is not accepted ({certificate[1]})", True)
    for sign, words in WITHOUT_RESPONSE.items():
        if sign in debug:
            return Failure(words, False)
    if "Error performing" in shown:
        return Failure("no response", False)
    return _unknown(error, shown)


def _of_response(status: int, shown: str) -> Failure:
    code, message = CODE.search(shown), MESSAGE.search(shown)
    name = code[1] if code else ""
    words = ": ".join(part for part in (f"HTTP {status}", name, one_line(message[1]) if message else "") if part)
    return Failure(words.rstrip("."), not is_transient(name, status), name, status)


def _unknown(error: Exception, shown: str) -> Failure:
    """Describe an error that was raised before the request. The first words of a configuration error say enough."""
    if type(error).__module__.startswith(("obstore", "builtins")) and "://" not in shown:
        return Failure(one_line(shown), lasting=True)
    return Failure(f"{type(error).__name__} ({where(error)})", lasting=True)
