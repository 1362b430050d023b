"""Find the environment variable of botocore with an invalid value, because botocore's error does not name it."""

from typing import Any

from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import BotoCoreError


def bad_variable(session: Any) -> str | None:
    """Return the first invalid variable and its problem, or None."""
    for name, (_, variables, _, _) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        try:
            session.get_config_variable(name)
        except (BotoCoreError, OSError, UnicodeError):
            return None  # this error names the variable, and the next use raises it again
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            known = [variables] if isinstance(variables, str) else list(variables or ())
            return f"{' or '.join(known) or name}: {error}"
    return None
