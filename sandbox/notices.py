"""Where the trade systems hear of arrivals (到账通知): stores them in their tables of bank requests."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqlalchemy import update

from sandbox.database import writing
from sandbox.production import Production

MOST_BODY_BYTES = 64 * 1024
STATUSES = ("success", "failed")


def take_notice(production: Production, request_no: str, status: str) -> bool:
    """Notes what a request has come to; False when the number is not this group's."""
    request = production.tables.bank_request
    ours = update(request).where(request.c["REQUEST_NO"] == request_no)
    with writing(production.engine) as connection:
        changes = {"STATUS": status, "UPDATED_AT": production.clock()}
        return connection.execute(ours.values(changes)).rowcount == 1


class NoticeHandler(BaseHTTPRequestHandler):
    """``POST /notices``: 204 stored, 404 for a number nobody here has written, 400 for anything else."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: "NoticeServer"

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            self.close_connection = True
            self._reply(413)
            return
        self._reply(self._take(self.rfile.read(int(length))))

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _take(self, body: bytes) -> int:
        try:
            notice = json.loads(body)
            request_no, status = notice["request_no"], notice["status"]
        except (ValueError, KeyError, TypeError):
            return 400
        if self.path != "/notices" or not isinstance(request_no, str) or status not in STATUSES:
            return 400
        stored = any(take_notice(production, request_no, status) for production in self.server.productions)
        return 204 if stored else 404

    def _reply(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


class NoticeServer(ThreadingHTTPServer):
    """Listens on the loopback only."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, productions: Sequence[Production]) -> None:
        self.productions = productions
        super().__init__(("127.0.0.1", port), NoticeHandler)


@contextmanager
def taking_notices(productions: Sequence[Production], port: int = 0) -> Iterator[str]:
    """The address to give the bank as its notify URL. Raises OSError when the port is taken."""
    server = NoticeServer(port, productions)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="notices", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/notices"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
