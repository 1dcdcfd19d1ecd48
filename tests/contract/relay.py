"""A way to a database that may fall silent: the connections through it stand, and nothing comes any more."""

import socket
import threading
from contextlib import suppress
from typing import Self


class Relay:
    """Carries each connection to ``target``. Once ``mute`` was called those that stand carry nothing more, as
    before a load balancer whose server is gone; new ones do.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._muted = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def mute(self) -> None:
        """Let the connections that stand fall silent."""
        self._muted.set()
        self._muted = threading.Event()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += (near, far)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(one, other, self._muted), daemon=True).start()


def _carry(one: socket.socket, other: socket.socket, is_muted: threading.Event) -> None:
    with suppress(OSError):
        while (some := one.recv(65_536)) and not is_muted.is_set():
            other.sendall(some)
