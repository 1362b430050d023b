"""Import structlog, without rich if nothing else has imported that.

structlog would use rich for tracebacks, which this program never prints, and rich takes a tenth of a start.
"""

import sys

__all__ = ["structlog"]

_hidden = "rich" not in sys.modules
if _hidden:
    sys.modules["rich"] = None  # type: ignore[assignment] # makes the import of rich fail
try:
    import structlog
finally:
    if _hidden:
        del sys.modules["rich"]
