"""Run the credential process of an AWS profile. Its output may hold secrets, so messages never show it.

Messages name only its command and its exit status. botocore runs it without a timeout, and shows its output.
"""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from subprocess import DEVNULL, PIPE

from consumer.errors import ConfigurationError, CredentialsUnavailable

TIMEOUT = 60.0  # seconds; a process that asks a person takes longer than any service
_RUNNING: "set[subprocess.Popen[bytes]]" = set()
_STARTING = threading.Lock()  # held until a process that starts is among the running ones


def end_all() -> None:
    """Kill the credential processes that still run, because they would outlive this process."""
    with _STARTING:
        for process in list(_RUNNING):
            _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    with _STARTING:
        process = subprocess.Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True)
        _RUNNING.add(process)
    return process


class CredentialProcess:
    """A credential process in the shape of `subprocess.Popen`, as botocore uses it.

    `tell` gets the name of the process, so that a message can name one that hangs.
    """

    def __init__(self, tell: Callable[[str], None], profile: str, command: list[str], **_: object) -> None:
        self._name = f"credential process {command[0] if command else ''!r} of profile {profile}"
        tell(self._name)
        try:
            self._process = _start(command)
        except (OSError, ValueError, IndexError) as error:
            raise ConfigurationError(f"{self._name}: {getattr(error, 'strerror', None) or 'no command'}") from None
        self.returncode = 0

    def communicate(self) -> tuple[bytes, bytes]:
        """Return its valid output, and no error output.

        Raises:
            CredentialsUnavailable: it did not end in time.
            ConfigurationError: it failed, or printed something other than credentials.
        """
        try:
            printed, _ = self._process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self._end()
            raise CredentialsUnavailable(f"{self._name}: it did not end within {TIMEOUT:.0f} s") from None
        finally:
            _RUNNING.discard(self._process)
        if status := self._process.returncode:
            ended = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
            raise ConfigurationError(f"{self._name}: {ended}")
        self._check(printed)
        return printed, b""

    def _end(self) -> None:
        _kill(self._process)
        self._process.wait()
        for pipe in filter(None, (self._process.stdout, self._process.stderr)):
            pipe.close()  # unread, because a child of the process may still hold it open

    def _check(self, printed: bytes) -> None:
        try:
            found = json.loads(printed)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigurationError(f"{self._name}: what it prints is not a JSON object")
        missing = [name for name in ("AccessKeyId", "SecretAccessKey") if not isinstance(found.get(name), str)]
        if missing or found.get("Version") != 1:
            raise ConfigurationError(f"{self._name}: what it prints lacks {', '.join(missing) or 'Version 1'}")
        if not isinstance(found.get("SessionToken", ""), str | None):
            raise ConfigurationError(f"{self._name}: its SessionToken is not text")
        self._check_expiration(found.get("Expiration"))

    def _check_expiration(self, value: object) -> None:
        if value is None:
            return
        try:
            zone = datetime.fromisoformat(str(value)).tzinfo
        except ValueError:
            raise ConfigurationError(f"{self._name}: its Expiration is not an ISO 8601 time") from None
        if zone is None:
            raise ConfigurationError(f"{self._name}: its Expiration has no time zone")
