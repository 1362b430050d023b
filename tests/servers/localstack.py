"""Start LocalStack without docker, with the ready hook of deploy/localstack."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.needs import INSTALLED, INSTALLERS, ROOT, need
from tests.servers.process import free_port, response_of, running

ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def localstack() -> Iterator[str]:
    """Yield the URL of a LocalStack 4.14.0 whose ready hook has made the stream."""
    need((INSTALLED / "localstack" / ".done").exists(), "LocalStack (.ci/emulators/localstack/install.sh)")
    port = free_port()
    command = [str(INSTALLERS / "localstack" / "start.sh"), str(port), str(ROOT / "deploy" / "localstack" / "ready.d")]
    with running(command, port, ACCESS, _hook_is_done, patience=120) as url:
        yield url


def _hook_is_done(url: str) -> bool:
    response = json.loads(response_of(f"{url}/_localstack/init/ready") or b"{}")
    states = {script["name"]: script["state"] for script in response.get("scripts", ())}
    need(states.get("make-stream.sh") != "ERROR", "a ready hook that works")
    return states.get("make-stream.sh") == "SUCCESSFUL"
