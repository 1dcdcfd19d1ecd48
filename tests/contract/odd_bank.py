"""A bank server that says exactly what a test tells it to, however odd."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Say:
    """An answer; ``promised`` is the Content-Length where it is not the content's own.

    ``before`` goes ahead of it. One with a Transfer-Encoding has no Content-Length.
    """

    status: int = 200
    content: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    before: bytes = b""


Speak = Callable[[str, str, bytes], Say]
"""From method, path and body to an answer."""


class OddBank:
    """What it is asked is in ``heard``; ``speak`` may be replaced at any time.

    ``connections``: how many it has taken. ``is_dated``: whether answers carry the Date of this machine.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.connections = 0
        self.is_dated = True
        self.speak: Speak = lambda method, path, body: Say()
        self.url = ""


@contextmanager
def odd_bank() -> Iterator[OddBank]:
    """Serves until the block ends, on a free port."""
    bank = OddBank()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            bank.connections += 1

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            bank.heard.append(f"{self.command} {self.path}")
            said = bank.speak(self.command, self.path, body)
            self.wfile.write(said.before)
            self.send_response_only(said.status)
            if bank.is_dated:
                self.send_header("Date", self.date_time_string())
            for name, value in said.headers.items():
                self.send_header(name, value)
            length = len(said.content) if said.promised is None else said.promised
            if "Transfer-Encoding" not in said.headers:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(said.content)
            self.close_connection = said.promised is not None

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """A caller that hangs up is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    bank.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield bank
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
