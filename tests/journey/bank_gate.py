"""A gate before the sandbox's bank: it holds the calls of a path until that is opened."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LONGEST_S = 120.0
"""A test that has failed lets its calls go after this."""
PASSED_ON = ("Authorization", "Content-Type")


class BankGate:
    """Where agents find the bank. Every call passes at once but those of a path that is held."""

    def __init__(self) -> None:
        self.url = ""
        self.bank_url = ""
        self._held: dict[str, threading.Event] = {}
        self._asked: dict[str, threading.Event] = {}

    def hold(self, path: str) -> None:
        """From now on calls of this path wait before they reach the bank."""
        self._asked[path] = threading.Event()
        self._held[path] = threading.Event()

    def wait_until_asked(self, path: str) -> None:
        """Return once a call of this path waits."""
        assert self._asked[path].wait(LONGEST_S), f"nobody called {path}"

    def open(self, path: str) -> None:
        """Let what waits, and all of this path that comes, pass."""
        self._held.pop(path).set()

    def open_all(self) -> None:
        """Let everything pass."""
        for path in list(self._held):
            self.open(path)

    def pass_through(self, path: str) -> None:
        """Return when a call may go on to the bank."""
        held = self._held.get(path)
        if held is not None:
            self._asked[path].set()
            held.wait(LONGEST_S)


@contextmanager
def bank_gate() -> Iterator[BankGate]:
    """Serves until the block ends, on a free port; ``bank_url`` is set before the first call."""
    gate = BankGate()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _pass_on(self, body: bytes | None) -> None:
            gate.pass_through(urlsplit(self.path).path)
            bank = http.client.HTTPConnection(urlsplit(gate.bank_url).netloc, timeout=30)
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            bank.request(self.command, self.path, body, headers)
            answer = bank.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name in ("Content-Type", "Date"):
                self.send_header(name, answer.headers.get(name, ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            bank.close()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """An agent or a bank that hangs up is no error here."""

    server = Server(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    gate.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield gate
    finally:
        gate.open_all()
        server.shutdown()
        server.server_close()
        serving.join()
