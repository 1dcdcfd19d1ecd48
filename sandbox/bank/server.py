"""The bank over HTTP/1.1 with kept-alive connections: a thread a connection, all state in the desk."""

import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.bank.books import BankBooks
from sandbox.bank.days import BankCalendar
from sandbox.bank.desk import Answer, BadRequestError, Desk
from sandbox.bank.faults import FaultBoard
from sandbox.bank.notices import NoticeClerk
from sandbox.bank.records import PAYOUT, RECEIPT, BankRecord
from sandbox.clock import Clock, parse_iso, utc_now

MOST_BODY_BYTES = 8 * 1024 * 1024
IDLE_SECONDS = 120


class BankHandler(BaseHTTPRequestHandler):
    """Parses, asks the desk, writes the answer in one piece."""

    protocol_version = "HTTP/1.1"
    server_version = "SandboxBank"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_SECONDS
    server: "BankHTTPServer"

    def do_GET(self) -> None:
        self._serve(None)

    def do_DELETE(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            # The body was not read, so nothing more can be read from this connection.
            self.close_connection = True
            self._reply(Answer(413, {"error": "too_large"}))
            return
        self._serve(self.rfile.read(int(length)))

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date of an answer is the bank's own, as every time in its records."""
        if timestamp is None:
            return _http_date(self.server.desk.books.clock().replace(microsecond=0))
        return super().date_time_string(timestamp)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: two hundred lines a second help nobody."""

    def _serve(self, body: bytes | None) -> None:
        address = urlsplit(self.path)
        if address.path == "/healthz":
            answer = Answer(200, {"status": "ok"})
        elif not self._is_known_caller():
            answer = Answer(401, {"error": "unauthorized"})
        else:
            try:
                answer = self._route(address.path, parse_qs(address.query), body)
            except (BadRequestError, ValueError) as error:
                answer = Answer(400, {"error": "bad_request", "message": str(error)})
        self._reply(answer)

    def _is_known_caller(self) -> bool:
        wanted = f"Bearer {self.server.token}"
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), wanted.encode())

    def _route(self, path: str, query: dict[str, list[str]], body: bytes | None) -> Answer:
        desk, board = self.server.desk, self.server.desk.board
        head, _, tail = path.strip("/").partition("/")
        match self.command, head, tail:
            case "POST", "payouts", "":
                return desk.submit(PAYOUT, _json(body))
            case "POST", "receipts", "":
                return desk.submit(RECEIPT, _json(body))
            case "GET", "requests", _ if tail:
                return desk.inquire_one(unquote(tail))
            case "POST", "inquiries", "":
                return desk.inquire(_json(body))
            case "GET", "days", "":
                return desk.days(next(iter(query.get("at", ())), None))
            case "GET", "settlements", _ if tail:
                return desk.settlement(unquote(tail))
            case "POST", "faults", "":
                return Answer(201, {"id": board.set(_object(body)).id})
            case "GET", "faults", "":
                return Answer(200, {"faults": board.all()})
            case "DELETE", "faults", "":
                board.clear()
                return Answer(200, {"faults": []})
            case "POST", "records", "":
                return desk.load(_records(body))
        return Answer(404, {"error": "no_such_call"})

    def _reply(self, answer: Answer) -> None:
        if answer.is_silence:
            self.close_connection = True
            return
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


@lru_cache(maxsize=8)
def _http_date(second: datetime) -> str:
    return format_datetime(second.replace(tzinfo=UTC), usegmt=True)


def _json(body: bytes | None) -> object:
    try:
        return json.loads(body or b"")
    except ValueError as error:
        raise BadRequestError("the body is not JSON") from error


def _object(body: bytes | None) -> dict[str, object]:
    wanted = _json(body)
    if not isinstance(wanted, dict):
        raise BadRequestError("a JSON object")
    return wanted


def _records(body: bytes | None) -> list[BankRecord]:
    listed = _object(body).get("records")
    if not isinstance(listed, list):
        raise BadRequestError("records: a list")
    try:
        return [_record(item) for item in listed]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRequestError(f"records: {error!r}") from error


def _record(item: dict[str, Any]) -> BankRecord:
    completed = item.get("completed_at")
    return BankRecord(
        str(item["request_no"]),
        str(item["kind"]),
        str(item["status"]),
        item.get("code"),
        int(item["amount_minor"]),
        str(item["currency"]),
        str(item["account"]),
        parse_iso(item["accepted_at"]),
        None if completed is None else parse_iso(completed),
    )


class BankHTTPServer(ThreadingHTTPServer):
    """Remembers its open connections, so that stopping it cuts them as a stopped process would."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, port: int, desk: Desk, token: str) -> None:
        self.desk = desk
        self.token = token
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), BankHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no error of the bank's."""

    def cut_connections(self) -> None:
        with self._open_lock:
            still_open = list(self._open)
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@dataclass(frozen=True)
class RunningBank:
    """A bank that answers at ``url`` to callers that bring ``token``."""

    url: str
    token: str
    port: int
    faults: FaultBoard
    books: BankBooks


@contextmanager
def running_bank(
    path: Path,
    token: str,
    *,
    port: int = 0,
    day_seconds: int = 60,
    processing_seconds: float = 0.0,
    deduplicates: bool = True,
    notify_url: str | None = None,
    clock: Clock = utc_now,
) -> Iterator[RunningBank]:
    """Serves until the block ends; port 0 takes a free one. Raises OSError when the port is taken."""
    closing = threading.Event()
    books = BankBooks(path, BankCalendar(day_seconds), clock)
    board = FaultBoard()
    try:
        desk = Desk(books, board, closing, processing_seconds, deduplicates)
        server = BankHTTPServer(port, desk, token)
    except OSError:
        books.close()
        raise
    clerk = NoticeClerk(books, notify_url, closing)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), name="bank", daemon=True)
    serving.start()
    clerk.start()
    bound = int(server.server_address[1])
    try:
        yield RunningBank(f"http://127.0.0.1:{bound}", token, bound, board, books)
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        server.cut_connections()
        serving.join()
        clerk.join()
        books.close()
