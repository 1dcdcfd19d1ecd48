"""The live channel of a running server, listened to by a test: it says when to look again."""

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

import websocket
from flask import Flask

from app.extensions import db
from tests.app.visitor import Visitor, make_person

T = TypeVar("T")


class LiveChannel:
    """Waits for what a server process brings about, without asking it again and again.

    ``app`` is an application on the server's database in this process. Only what ticks is found, as only that
    is shown by a page on its own.
    """

    def __init__(self, app: Flask, port: int) -> None:
        self._app = app
        self._host = f"127.0.0.1:{port}"
        self._socket: websocket.WebSocket | None = None
        self._cookie = ""

    def until(self, look: Callable[[], T], what: str, seconds: float) -> T:
        """Look into the database, and again at each tick, until there is something; return it.

        Raises AssertionError, naming ``what``, when that does not come within ``seconds``.
        """
        end = time.monotonic() + seconds
        found = self._look(look)
        while not found:
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds:.0f} s: {what}"
            if self._wait_for_tick(left):
                found = self._look(look)
        return found

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.shutdown()
            self._socket = None

    def _look(self, look: Callable[[], T]) -> T:
        with self._app.app_context():
            found = look()
            db.session.remove()
        return found

    def _wait_for_tick(self, seconds: float) -> bool:
        """Return whether something may have changed, as it may have before the channel was opened."""
        if self._socket is None:
            self._open(seconds)
            return True
        self._socket.settimeout(seconds)
        try:
            return bool(self._socket.recv())
        except websocket.WebSocketTimeoutException:
            return False
        except (websocket.WebSocketException, OSError):
            # The server was restarted: what it did meanwhile is there, what it does next is told anew.
            self.close()
            return True

    def _open(self, seconds: float) -> None:
        self._socket = websocket.create_connection(
            f"ws://{self._host}/ui",
            timeout=seconds,
            header=[f"Cookie: {self._cookie or self._log_in()}"],
            origin=f"http://{self._host}",
        )

    def _log_in(self) -> str:
        listener = f"listener.{secrets.token_hex(4)}"
        with self._app.app_context():
            make_person(listener, "viewer")
        visitor = Visitor(self._app)
        assert visitor.log_in(listener).status_code == 303
        name = self._app.config["SESSION_COOKIE_NAME"]
        cookie = visitor.client.get_cookie(name)
        assert cookie is not None
        self._cookie = f"{name}={cookie.value}"
        return self._cookie
