"""A server on the loopback with many pictures, which fails, stalls, redirects and lies in one request of ten."""

from __future__ import annotations

import http.server
import random
import threading
import time
from collections import Counter
from typing import Any

from .models import png

#: What goes wrong: one of these for each tenth picture, always the same for the same picture.
TROUBLES = (
    "missing",
    "busy-once",
    "cut",
    "not-an-image",
    "redirect",
    "lying-type",
    "noai",
    "gone-away",
    "huge",
    "loop",
    "stall",
)


def trouble_of(number: int) -> str | None:
    return TROUBLES[number // 10 % len(TROUBLES)] if number % 10 == 0 else None


def is_good(number: int) -> bool:
    return trouble_of(number) in {None, "busy-once", "redirect", "lying-type", "stall"}


class Web:
    """Serves ``/<number>.png`` for numbers below ``pictures``; what was asked for is counted."""

    def __init__(self, side: int = 8) -> None:
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.side = side
        self._lock = threading.Lock()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with web._lock:
                    web.asked[self.path] += 1
                    web.at_once += 1
                    web.most_at_once = max(web.most_at_once, web.at_once)
                try:
                    web.answer(self)
                finally:
                    with web._lock:
                        web.at_once -= 1

            def log_message(self, *_: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass  # clients that go away are part of it

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, number: int | str) -> str:
        return f"http://127.0.0.1:{self.port}/{number}.png"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        name = request.path.removeprefix("/").removesuffix(".png")
        if name.startswith("target-"):
            return self.send(request, png(int(name.removeprefix("target-")), self.side))
        number = int(name)
        body = png(number, self.side)
        match trouble_of(number):
            case None:
                self.send(request, body)
            case "missing":
                self.send(request, b"no", status=404)
            case "busy-once" if self.asked[request.path] == 1:
                self.send(request, b"later", {"Retry-After": "0"}, status=503)
            case "busy-once":
                self.send(request, body)
            case "cut":
                self.send(request, body[: len(body) // 2], {"Content-Length": str(len(body))})
                request.close_connection = True
            case "not-an-image":
                self.send(request, b"<html>no picture</html>", {"Content-Type": "image/png"})
            case "redirect":
                self.send(request, b"", {"Location": f"/target-{number}.png"}, status=302)
            case "lying-type":
                self.send(request, body, {"Content-Type": "text/html; charset=utf-7"})
            case "noai":
                self.send(request, body, {"X-Robots-Tag": "noai, noimageai"})
            case "gone-away":
                request.close_connection = True
            case "huge":
                self.send(request, b"", {"Content-Length": str(2**40)})
                request.close_connection = True
            case "stall":
                self.send(request, body[:10], {"Content-Length": str(len(body))})
                time.sleep(0.3)
                request.wfile.write(body[10:])
            case "loop":
                self.send(request, b"", {"Location": request.path}, status=302)

    @staticmethod
    def send(request: Any, body: bytes, headers: dict[str, str] | None = None, *, status: int = 200) -> None:
        request.send_response(status)
        headers = {"Content-Type": "image/png", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


def shuffled(number: int) -> list[int]:
    numbers = list(range(number))
    random.Random(1).shuffle(numbers)
    return numbers
