"""Start DynamoDB Local and dynalite, on which the lease table must work, as on moto.

DynamoDB Local is Amazon's own engine. dynalite omits the item in the response to a failed condition, as older stores
did.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.needs import INSTALLED, INSTALLERS, install, need
from tests.servers.process import free_port, running


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """Yield the URL of a new DynamoDB Local that keeps its tables in memory."""
    need(all(shutil.which(program) for program in ("java", "javac", "mvn")), "a JDK with Maven")
    install(INSTALLERS / "dynamodb-local" / "install.sh")
    there, port = INSTALLED / "dynamodb-local", free_port()
    frugal = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.library.path={there / 'lib'}"]
    main = ["-cp", f"{there / 'classes'}:{there / 'lib'}/*", "LoopbackDynamoDb"]
    with running(["java", *frugal, *main, "-inMemory", "-disableTelemetry", "-port", str(port)], port) as url:
        yield url


@contextmanager
def dynalite() -> Iterator[str]:
    """Yield the URL of a new dynalite, which ignores ReturnValuesOnConditionCheckFailure."""
    need(shutil.which("npm") is not None, "Node.js with npm")
    install(INSTALLERS / "dynalite" / "install.sh")
    script, port = INSTALLED / "dynalite" / "node_modules" / "dynalite" / "cli.js", free_port()
    quick = ["--createTableMs", "20", "--deleteTableMs", "20"]
    with running(["node", str(script), "--host", "127.0.0.1", "--port", str(port), *quick], port) as url:
        yield url
