"""Start azurite, which imitates Azure Blob Storage."""

import base64
import email.utils
import hashlib
import hmac
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.needs import INSTALLED, INSTALLERS, install, need
from tests.servers.process import free_port, running

# The account of every azurite, as its documentation names it.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-08-06"


@contextmanager
def azurite() -> Iterator[str]:
    """Yield the endpoint of the account of a new azurite that keeps its blobs in memory."""
    need(shutil.which("npm") is not None, "Node.js with npm")
    install(INSTALLERS / "azurite" / "install.sh")
    script = INSTALLED / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    port = free_port()
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with running(["node", str(script), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options], port) as url:
        yield f"{url}/{ACCOUNT}"


def create_container(endpoint: str, name: str) -> None:
    """Create a container. obstore cannot."""
    date = email.utils.formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
    signed = "PUT" + "\n" * 12 + headers + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
    request = urllib.request.Request(
        f"{endpoint}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": VERSION,
            "Authorization": f"SharedKey {ACCOUNT}:{signature}",
            "Content-Length": "0",
        },
    )
    urllib.request.urlopen(request).close()
