"""Start PostgreSQL and PgBouncer on loopback, as a system user because they do not run as root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.needs import need
from tests.servers.process import PATIENCE, free_port

DEBIAN = Path("/usr/lib/postgresql")  # Debian has the server's programs there, and not on the path
QUICK = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=50")
ADMIN = "admin"


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, of the newest version."""
    found = [*sorted(DEBIAN.glob(f"*/bin/{name}")), *filter(None, [shutil.which(name)])]
    need(bool(found), f"PostgreSQL's {name} (apt-get install postgresql)")
    return str(found[-1])


@dataclass
class PostgreSql:
    """A server that tests can stop, kill and start again. Anyone may log in without a password, except `secretive`."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        """Return the host and port."""
        return f"127.0.0.1:{self.port}"

    def url(self, options: str = "") -> str:
        """Return the URL of a sink."""
        return f"postgresql://{ADMIN}@{self.address}/postgres{options}"

    def create(self) -> None:
        """Create the files of the server."""
        data = self.directory / "data"
        run_as_user([program("initdb"), "-D", str(data), "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"])
        rules = data / "pg_hba.conf"
        rules.write_text(f"host all secretive 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")

    def start(self) -> None:
        """Start the server, and wait until it accepts connections. A killed one first has to be gone completely."""
        give_up = time.monotonic() + PATIENCE
        while not self._is_ready():
            need(time.monotonic() < give_up, "a PostgreSQL that starts")
            if self.process is None or self.process.poll() is not None:
                self.process = started([program("postgres"), "-D", str(self.directory / "data"), *self._options()])
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send a signal and wait for the end: SIGINT ends all connections, SIGKILL is a crash."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def _options(self) -> Sequence[str]:
        return ("-p", str(self.port), "-k", str(self.directory), "-c", "listen_addresses=127.0.0.1", *QUICK)

    def _is_ready(self) -> bool:
        asking = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return self.process is not None and subprocess.run(asking, check=False).returncode == 0


@contextmanager
def postgresql() -> Iterator[PostgreSql]:
    """Yield a new server that runs."""
    need(find_spec("psycopg") is not None, "psycopg (the extra `postgres`)")
    with _directory() as directory:
        server = PostgreSql(directory)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def pgbouncer(server: PostgreSql) -> Iterator[str]:
    """Yield the host and port of a PgBouncer in transaction mode, with two connections to the server."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    need(found is not None, "pgbouncer (apt-get install pgbouncer)")
    port = free_port()
    with _directory() as directory:
        settings = directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = trust\nauth_file = {directory}/users\npool_mode = transaction\n"
            f"unix_socket_dir = \nlogfile = {directory}/log\nmax_client_conn = 50\ndefault_pool_size = 2\n"
        )
        (directory / "users").write_text(f'"{ADMIN}" ""\n')
        settings.chmod(0o644)
        process = started([str(found), "-q", str(settings)])
        try:
            _wait_for(lambda: _is_open(port))
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(10)


def started(command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a program without root's rights."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*_as_user(), *command], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def run_as_user(command: Sequence[str]) -> None:
    """Run a program without root's rights to its end."""
    subprocess.run([*_as_user(), *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


def _as_user() -> list[str]:
    """Return what runs a command as a system user, if we are root."""
    user = _user()
    return [] if user is None else ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _user() -> pwd.struct_passwd | None:
    names = {user.pw_name: user for user in pwd.getpwall()}
    return None if os.geteuid() else names.get("postgres", names.get("nobody"))


@contextmanager
def _directory() -> Iterator[Path]:
    """Yield a directory of that user. pytest's own ones cannot be entered by others."""
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        if (user := _user()) is not None:
            os.chown(directory, user.pw_uid, user.pw_gid)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for(ready: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not ready():
        need(time.monotonic() < give_up, "a server that starts")
        time.sleep(0.02)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
