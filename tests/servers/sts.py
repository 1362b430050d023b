"""An AWS endpoint that responds as STS only, and denies every other request."""

import json
import re
import time
from urllib.parse import parse_qs

from tests.servers.loopback import LoopbackServer, QuietHandler


class Aws(LoopbackServer):
    """Keep which access key signed which request."""

    def __init__(self) -> None:
        self.signed: list[tuple[str, str, str]] = []  # access key, service, role
        self.refusal: str | None = None  # STS requests
        self.code = "AccessDeniedException"  # requests to other services
        super().__init__(_Sts)


class _Sts(QuietHandler):
    server: Aws

    def reply(self) -> None:
        body = self.body().decode()
        found = re.search(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/", self.headers["Authorization"])
        assert found is not None
        role = parse_qs(body).get("RoleArn", [""])[0] if found[2] == "sts" else ""
        self.server.signed.append((found[1], found[2], role))
        if found[2] != "sts":
            self.respond(403, json.dumps({"__type": self.server.code}).encode())
        elif self.server.refusal is not None:
            self.respond(403, _error(self.server.refusal).encode())
        else:
            self.respond(200, _assumed(role).encode())


def _error(code: str) -> str:
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>not trusted</Message></Error></ErrorResponse>"


def _assumed(role: str) -> str:
    key = "KEY-OF-" + role.rpartition("/")[2]
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    return (
        "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>"
        f"<Expiration>{expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
