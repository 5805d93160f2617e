"""Azurite: Microsoft's emulator of Azure Blob Storage, which checks signatures and their expiry."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path
from typing import Any

from tests.needs import unavailable

from .process import LOOPBACK, ServerProcess, free_ports

__all__ = ["Azurite"]

#: Where ``scripts/test`` installs it.
_INSTALLED = Path(__file__).parents[3] / ".azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


class Azurite:
    """A server with one account.

    :param directory: where it keeps everything
    """

    account = "pictures"
    account_key = base64.b64encode(b"the key of the account, which is long enough").decode()

    def __init__(self, directory: Path) -> None:
        node = shutil.which("node")
        program = Path(os.environ.get("IMAGEATTACH_AZURITE", _INSTALLED))
        if node is None or not program.is_file():
            unavailable(f"no Azurite here, the server that these tests need: install Node.js, and {program} by npm")
            raise AssertionError
        [self.port] = free_ports(1)
        self.endpoint = f"http://{LOOPBACK}:{self.port}/{self.account}"
        command = [node, str(program), "--blobHost", LOOPBACK, "--blobPort", str(self.port)]
        command += ["--location", str(directory), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        environment = {"AZURITE_ACCOUNTS": f"{self.account}:{self.account_key}"}
        self._process = ServerProcess(command, directory, self._use, environment)

    def container(self, name: str, **options: Any) -> Any:
        """A container as obstore has it; it gives up at once unless it is told to try again."""
        from obstore.store import AzureStore

        defaults: dict[str, Any] = {
            "account_name": self.account,
            "account_key": self.account_key,
            "endpoint": self.endpoint,
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 0},
        }
        return AzureStore(name, **defaults | options)

    def client(self) -> Any:
        """A plain client of Microsoft's, to look at the server past the stores."""
        from azure.storage.blob import BlobServiceClient

        credential = {"account_name": self.account, "account_key": self.account_key}
        return BlobServiceClient(self.endpoint, credential=credential, retry_total=0)

    def kill(self) -> None:
        """Afterwards the server is gone, as by a power failure."""
        self._process.kill()

    def _use(self) -> None:
        with self.client() as client, client.create_container("started"):
            client.delete_container("started")
