"""Finds which of botocore's own settings holds a value that cannot be: its error does not name the variable."""

from typing import Any

from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import BotoCoreError


def bad_variable(session: Any) -> str | None:
    """Return what is wrong with one of botocore's own settings, by its variable; None: nothing is."""
    for name, (_, variables, _, _) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        try:
            session.get_config_variable(name)
        except (BotoCoreError, OSError, UnicodeError):
            return None  # it names itself
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            known = [variables] if isinstance(variables, str) else list(variables or ())
            return f"{' or '.join(known) or name}: {error}"
    return None
