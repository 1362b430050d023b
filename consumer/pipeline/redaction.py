"""What a row must not carry: passwords in URLs and in parameters. Everything else of a row stays verbatim."""

import re
from typing import Any

HIDDEN = "***"
# The password of `scheme://user:password@host`; up to the last @ before the path, as a password may hold one.
_PASSWORD = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*:)?(//[^/?#:@]*):[^/?#]*@")
_SECRET = "sipauthpassword"


def without_password(url: str) -> str:
    """The URL with its password as `***`."""
    return _PASSWORD.sub(lambda found: f"{found[1] or ''}{found[2]}:{HIDDEN}@", url, count=1)


def without_secrets(parameters: Any) -> Any:
    """The parameters with SipAuthPassword as `***`, however deep; the same object when there is none."""
    if isinstance(parameters, dict):
        cleaned = {
            key: HIDDEN if key.lower() == _SECRET and value is not None else without_secrets(value)
            for key, value in parameters.items()
        }
        return cleaned if any(cleaned[key] is not parameters[key] for key in cleaned) else parameters
    if isinstance(parameters, list):
        items = [without_secrets(item) for item in parameters]
        return items if any(new is not old for new, old in zip(items, parameters, strict=True)) else parameters
    return parameters
