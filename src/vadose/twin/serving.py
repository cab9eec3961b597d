"""A data centre on this machine, which misbehaves as told: for tests and trials without the network."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: "Centre"

    def do_GET(self) -> None:
        """Answer a request without a body."""
        self.body = b""
        self._answer()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Answer a request with a body."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        with self.server.lock:
            self.server.log.append((path, dict(self.headers), self.path))
            answers = self.server.answers.get(path, [self.server.otherwise(self)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def send(self, code: int, body: bytes = b"", **headers: Any) -> None:
        """Send an answer; underscores in names of headers stand for hyphens."""
        self.send_response(code)
        headers.setdefault("Content_Length", len(body))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class Centre(ThreadingHTTPServer):
    """Answers paths as `on` says, others with 404; it notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.log: list[tuple[str, dict[str, str], str]] = []
        self.answers: dict[str, list[Answer]] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: a client that hangs up is wanted here."""

    def otherwise(self, request: Handler) -> "Answer":
        """Answer to a path that `on` was not called for."""
        return status(404)

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        """Address of a path."""
        return f"http://{host}:{self.server_port}{path}"

    def on(self, path: str, *answers: Answer) -> str:
        """Answer in this order, the last one ever after."""
        self.answers[path] = list(answers)
        return self.url(path)

    def asked(self, path: str) -> list[dict[str, str]]:
        """Headers of the requests for a path."""
        return [headers for at, headers, _ in self.log if at == path]


def serve(body: bytes, etag: str | None = '"v1"', ranges: bool = True, **more: Any) -> Answer:
    """A well-behaved server."""

    def answer(to: Handler) -> None:
        wanted = to.headers.get("Range") if ranges else None
        if wanted and to.headers.get("If-Range", etag) == etag:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
            if begin >= len(body):
                to.send(416, Content_Range=f"bytes */{len(body)}")
                return
            piece = body[begin : end + 1]
            to.send(206, piece, ETag=etag, Content_Range=f"bytes {begin}-{end}/{len(body)}", **more)
        else:
            to.send(200, body, ETag=etag, **more)

    return answer


def drop(body: bytes, after: int, etag: str | None = '"v1"') -> Answer:
    """Hang up in the middle of the body (of what is asked for of it)."""

    def answer(to: Handler) -> None:
        wanted = to.headers.get("Range")
        begin = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        to.send_response(206 if wanted else 200)
        to.send_header("Content-Length", str(len(body) - begin))
        if etag:
            to.send_header("ETag", etag)
        if wanted:
            to.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        to.end_headers()
        to.wfile.write(body[begin : begin + after])
        to.wfile.flush()
        to.close_connection = True

    return answer


def status(code: int, body: bytes = b"", **headers: Any) -> Answer:
    """Always this answer."""
    return lambda to: to.send(code, body, **headers)
