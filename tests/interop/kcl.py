"""Run a worker of Amazon's real KCL as a process, and read its rows, events and exceptions."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests import needs
from tests.needs import INSTALLERS, ROOT, need

VERSION = os.environ.get("KCL") or "3.5.1"
FRUGAL = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
QUIETER = ["-Dorg.slf4j.simpleLogger.log.software.amazon.awssdk=warn"]
EXCEPTION = re.compile(r"\b[A-Z]\w*(?:Exception|Error)\b")


class KclRow(NamedTuple):
    """One user record as KCL gave it to its application."""

    shard: str
    sequence: int
    sub_sequence: int
    event_id: str


def install(version: str = VERSION) -> Path:
    """Return the folder with KCL's jars and the worker, after installing them."""
    need(all(shutil.which(program) for program in ("java", "javac", "mvn")), "a JDK with Maven")
    needs.install(INSTALLERS / "kcl" / "install.sh", version, timeout=600)
    return ROOT / ".emulators" / f"kcl-{version}"


@dataclass
class KclWorker:
    """One process. Its rows and log stay after its end."""

    name: str
    process: "subprocess.Popen[bytes]"
    rows_file: Path
    log: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def rows(self) -> list[KclRow]:
        """Return the user records that it got, in order."""
        lines = self.rows_file.read_text().splitlines() if self.rows_file.exists() else []
        return [KclRow(shard, int(sequence), int(sub), event) for shard, sequence, sub, event in map(_parts, lines)]

    def events(self) -> list[str]:
        """Return what its application logged: started, initialized SHARD, half SHARD, ended SHARD, lost SHARD, …"""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.split(" ", 2)[2] for line in lines if line.startswith("EVENT ")]

    def exceptions(self) -> Iterator[str]:
        """Return the short class names of the exceptions in its log."""
        yield from EXCEPTION.findall(self.log.read_text(errors="replace"))

    def end(self, number: signal.Signals, patience: float = 40.0) -> None:
        """Send it a signal and wait for its end."""
        if self.alive:
            self.process.send_signal(number)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _parts(line: str) -> Sequence[str]:
    return line.split("\t")


def command(installed: Path, **options: object) -> list[str]:
    """Return the command line. Options are those of KclWorker.java."""
    given = [f"-D{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]
    return ["java", *FRUGAL, *QUIETER, *given, "-cp", f"{installed / 'classes'}:{installed / 'lib'}/*", "KclWorker"]


def start(installed: Path, directory: Path, name: str, **options: object) -> KclWorker:
    """Start a worker. The options `stream`, `application`, `kinesis` and `dynamodb` are required."""
    rows, log = directory / f"{name}.tsv", directory / f"{name}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command(installed, worker=name, rows=rows, **options), stdout=subprocess.DEVNULL, stderr=stderr
        )
    return KclWorker(name, process, rows, log)


if __name__ == "__main__":  # for benchmarks, which import nothing from the tests; options are NAME=VALUE
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    java = command(install(), **given)
    os.execvp(java[0], java)
