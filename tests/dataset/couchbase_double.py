"""A double of Couchbase's key-value protocol, for the real SDK to talk to: **no Couchbase Server**.

It speaks as much of the binary protocol as single documents and counters take.  What it cannot show: durability,
rebalancing, indexes, real time-outs.  Set ``COUCHBASE_URL`` to run the same tests against a real server.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import secrets
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

USER, PASSWORD, BUCKET = "imageattach", "in-the-tests-only", "images"

_HEADER = struct.Struct("!BBHBBHIIQ")

GET, SET, ADD, REPLACE, DELETE, INCREMENT, DECREMENT, NOOP = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A
HELLO, SASL_LIST, SASL_AUTH, SASL_STEP, GET_META = 0x1F, 0x20, 0x21, 0x22, 0xA0
SELECT_BUCKET, GET_CONFIG, GET_MANIFEST, GET_COLLECTION, ERROR_MAP, OBSERVE = 0x89, 0xB5, 0xBA, 0xBB, 0xFE, 0x91

OK, MISSING, EXISTS, TOO_BIG, INVALID, NOT_STORED, BAD_DELTA = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
AUTH_ERROR, AUTH_CONTINUE, NO_ACCESS, UNKNOWN_COMMAND, UNKNOWN_COLLECTION = 0x20, 0x21, 0x24, 0x81, 0x88

# error codes with a text, select bucket, JSON, other framing, collections
_FEATURES = {0x03, 0x07, 0x08, 0x0B, 0x10, 0x12}
_LONGEST = 20 * 2**20


@dataclass
class Document:
    value: bytes
    flags: int
    cas: int


@dataclass
class Double:
    """The server.  ``hook`` is called with the name of each operation before it is done, and may raise."""

    documents: dict[bytes, Document] = field(default_factory=dict)
    hook: Callable[[int, bytes], None] = field(default=lambda _operation, _key: None)
    port: int = 0
    operations: int = 0

    def __enter__(self) -> Double:
        self._cas = itertools.count(1 << 16)
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[started], daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"couchbase://127.0.0.1:{self.port}"

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection(self)
        try:
            while True:
                head = await reader.readexactly(_HEADER.size)
                magic, operation, key_length, extras_length, datatype, _, body_length, opaque, cas = _HEADER.unpack(
                    head
                )
                body = await reader.readexactly(body_length)
                framing = 0
                if magic == 0x08:
                    framing, key_length = key_length >> 8, key_length & 0xFF
                body = body[framing:]
                extras, key = body[:extras_length], body[extras_length : extras_length + key_length]
                value = body[extras_length + key_length :]
                status, *answer = connection.answer(operation, extras, key, value, cas)
                filled: list[Any] = [*answer, b"", b"", b"", 0][: len(answer)] + [b"", b"", b"", 0][len(answer) :]
                more, name, content, new_cas = filled
                out = more + name + content
                kind = 0x01 if operation in {GET_CONFIG, ERROR_MAP} else 0
                writer.write(
                    _HEADER.pack(0x81, operation, len(name), len(more), kind, status, len(out), opaque, new_cas) + out
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def next_cas(self) -> int:
        return next(self._cas)

    def config(self) -> bytes:
        services = {"kv": self.port, "mgmt": self.port}
        return json.dumps(
            {
                "rev": 1,
                "revEpoch": 1,
                "name": BUCKET,
                "uuid": "0" * 32,
                "nodeLocator": "vbucket",
                "nodes": [{"hostname": f"127.0.0.1:{self.port}", "ports": {"direct": self.port}}],
                "nodesExt": [{"services": services, "thisNode": True, "hostname": "127.0.0.1"}],
                "bucketCapabilitiesVer": "",
                "bucketCapabilities": ["couchapi", "xattr", "dcp", "cbhello", "touch", "cccp", "collections"],
                "vBucketServerMap": {
                    "hashAlgorithm": "CRC",
                    "numReplicas": 0,
                    "serverList": [f"127.0.0.1:{self.port}"],
                    "vBucketMap": [[0]] * 64,
                },
            }
        ).encode()


class _Connection:
    def __init__(self, double: Double) -> None:
        self._double = double
        self._is_known = False
        self._scram: tuple[bytes, bytes, bytes] | None = None

    def answer(self, operation: int, extras: bytes, key: bytes, value: bytes, cas: int) -> tuple[Any, ...]:
        match operation:
            case 0x1F:  # HELLO
                asked = struct.unpack(f"!{len(value) // 2}H", value)
                accepted = [feature for feature in asked if feature in _FEATURES]
                return OK, b"", b"", struct.pack(f"!{len(accepted)}H", *accepted)
            case 0x20:  # SASL_LIST
                return OK, b"", b"", b"SCRAM-SHA512"
            case 0x21:  # SASL_AUTH
                return self._begin(value)
            case 0x22:  # SASL_STEP
                return self._finish(value)
            case 0xFE:  # ERROR_MAP
                return OK, b"", b"", json.dumps({"version": 1, "revision": 1, "errors": {}}).encode()
            case 0x0A:  # NOOP
                return (OK,)
        if not self._is_known:
            return (NO_ACCESS,)
        match operation:
            case 0x89:  # SELECT_BUCKET
                return (OK if key == BUCKET.encode() else NO_ACCESS,)
            case 0xB5:  # GET_CONFIG
                return OK, b"", b"", self._double.config()
            case 0xBB:  # GET_COLLECTION
                path = (value or key).decode()
                number = {"_default._default": 0, "image.labelled_image": 8}.get(path.lstrip("."))
                if number is None:
                    return (UNKNOWN_COLLECTION,)
                return OK, struct.pack("!QI", 1, number)
        return self._document(operation, extras, key, value, cas)

    def _begin(self, value: bytes) -> tuple[Any, ...]:
        bare = value.removeprefix(b"n,,")
        nonce = dict(part.split(b"=", 1) for part in bare.split(b","))[b"r"] + secrets.token_hex(8).encode()
        salt = secrets.token_bytes(16)
        first = b"r=%s,s=%s,i=4096" % (nonce, base64.b64encode(salt))
        self._scram = bare, first, salt
        return AUTH_CONTINUE, b"", b"", first

    def _finish(self, value: bytes) -> tuple[Any, ...]:
        assert self._scram is not None
        bare, first, salt = self._scram
        without_proof, _, proof = value.rpartition(b",p=")
        message = b",".join((bare, first, without_proof))
        salted = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 4096)
        stored = hashlib.sha512(_mac(salted, b"Client Key")).digest()
        found = bytes(a ^ b for a, b in zip(base64.b64decode(proof), _mac(stored, message), strict=True))
        if hashlib.sha512(found).digest() != stored or f"n={USER}".encode() not in bare:
            return (AUTH_ERROR,)
        self._is_known = True
        return OK, b"", b"", b"v=" + base64.b64encode(_mac(_mac(salted, b"Server Key"), message))

    def _document(self, operation: int, extras: bytes, key: bytes, value: bytes, cas: int) -> tuple[Any, ...]:
        double = self._double
        double.operations += 1
        double.hook(operation, key)
        found = double.documents.get(key)
        if cas and found is not None and found.cas != cas and operation not in {GET, GET_META}:
            return (EXISTS,)
        if len(value) > _LONGEST:
            return (TOO_BIG,)
        match operation:
            case 0x00:  # GET
                if found is None:
                    return (MISSING,)
                return OK, struct.pack("!I", found.flags), b"", found.value, found.cas
            case 0xA0:  # GET_META
                if found is None:
                    return (MISSING,)
                return OK, struct.pack("!IIIQB", 0, found.flags, 0, 1, 0), b"", b"", found.cas
            case 0x01 | 0x02 | 0x03:  # SET, ADD, REPLACE
                if (operation == ADD and found is not None) or (operation == REPLACE and found is None):
                    return (EXISTS if operation == ADD else MISSING,)
                if cas and found is None:
                    return (MISSING,)
                return self._put(key, value, struct.unpack_from("!I", extras)[0])
            case 0x04:  # DELETE
                if found is None:
                    return (MISSING,)
                del double.documents[key]
                return OK, b"", b"", b"", double.next_cas()
            case 0x05 | 0x06:  # INCREMENT, DECREMENT
                delta, initial, expiry = struct.unpack("!QQI", extras)
                if found is None:
                    if expiry == 0xFFFFFFFF:
                        return (MISSING,)
                    number = initial
                elif not found.value.isdigit():
                    return (BAD_DELTA,)
                else:
                    number = int(found.value) + delta if operation == INCREMENT else max(0, int(found.value) - delta)
                _, _, _, _, new_cas = self._put(key, str(number).encode(), found.flags if found else 0)
                return OK, b"", b"", struct.pack("!Q", number), new_cas
        return (UNKNOWN_COMMAND,)

    def _put(self, key: bytes, value: bytes, flags: int) -> tuple[Any, ...]:
        new_cas = self._double.next_cas()
        self._double.documents[key] = Document(value, flags, new_cas)
        return OK, b"", b"", b"", new_cas


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha512")
