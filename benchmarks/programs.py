"""Build the peers in Go and Java, where their tools are at hand, and return them as contenders."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contenders import Contender, Job
from benchmarks.environments import BUILD, ROOT, Unavailable, command
from benchmarks.events import STREAM
from benchmarks.servers import server

PEERS = Path(__file__).parent / "peers"
KCL = "3.5.1"


def tool(name: str, *places: str) -> str:
    """Return the path of a program.

    Raises:
        Unavailable: it is not installed.
    """
    found = shutil.which(name) or next((place for place in places if Path(place).exists()), None)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def go() -> Iterator[Contender]:
    """Yield the Go peer.

    Raises:
        Unavailable: there is no Go, or its libraries cannot be had.
    """
    program = BUILD / "go-peer"
    BUILD.mkdir(parents=True, exist_ok=True)
    compiler = tool("go", "/usr/local/go/bin/go")
    command([compiler, "build", "-o", program, "."], cwd=PEERS / "go")

    def words(job: Job) -> list[str]:
        places = ["-stream", STREAM, "-endpoint-url", job.url, "-directory", str(job.directory)]
        return [str(program), *places, "-events", str(job.events), f"-aggregated={str(job.per_record > 1).lower()}"]

    yield Contender("Go, harlow/kinesis-consumer", words)


def kcl(opened: ExitStack) -> Iterator[Contender]:
    """Yield Amazon's KCL in Java, with a lease table in DynamoDB Local, which stops with `opened`.

    It reads JSON, as the stub does not speak CBOR.

    Raises:
        Unavailable: there is no JDK or no Maven, or the libraries cannot be had.
    """
    java, javac = tool("java"), tool("javac")
    tool("mvn")
    command([ROOT / ".ci" / "emulators" / "kcl" / "install.sh", KCL])
    libraries = f"{ROOT / '.emulators' / f'kcl-{KCL}' / 'lib'}/*"
    classes = BUILD / "kcl-classes"
    command([javac, "-cp", libraries, "-d", classes, PEERS / "kcl" / "KclPeer.java"])
    dynamodb = opened.enter_context(server("dynamodb-local"))

    def words(job: Job) -> list[str]:
        places = {"stream": STREAM, "kinesis": job.url, "dynamodb": dynamodb, "directory": str(job.directory)}
        properties = {**places, "events": str(job.events), "aws.cborEnabled": "false"}
        options = [f"-D{name}={value}" for name, value in properties.items()]
        return [java, *options, "-cp", os.pathsep.join((str(classes), libraries)), "KclPeer"]

    yield Contender("KCL in Java", words, steady=True)
