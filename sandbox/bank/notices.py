"""Arrival notices (到账通知): the bank tells the trade system that a request has come to its end."""

import json
import threading
import urllib.request
from collections.abc import Sequence

from sandbox.bank.books import BankBooks
from sandbox.bank.records import BankRecord, public

BATCH = 100
PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 2.0
MOST_ATTEMPTS = 5


class NoticeClerk(threading.Thread):
    """Writes down what falls due and sends the notices; a notice nobody takes is given up in the end."""

    def __init__(self, books: BankBooks, notify_url: str | None, closing: threading.Event) -> None:
        super().__init__(name="bank-notices", daemon=True)
        self._books = books
        self._notify_url = notify_url
        self._closing = closing
        self._attempts: dict[str, int] = {}

    def run(self) -> None:
        while not self._closing.wait(PAUSE_SECONDS):
            self._books.complete_due()
            self.announce(self._books.unannounced(BATCH))

    def announce(self, records: Sequence[BankRecord]) -> None:
        """One pass over what is waiting; the first refused call ends it, the receiver is away."""
        finished: list[str] = []
        for record in records:
            if self._closing.is_set():
                break
            delivered = self._notify_url is None or self._send(self._notify_url, record)
            if delivered or self._is_given_up(record.request_no):
                finished.append(record.request_no)
                self._attempts.pop(record.request_no, None)
            if not delivered:
                break
        if finished:
            self._books.mark_announced(finished)

    def _is_given_up(self, request_no: str) -> bool:
        self._attempts[request_no] = self._attempts.get(request_no, 0) + 1
        return self._attempts[request_no] >= MOST_ATTEMPTS

    def _send(self, url: str, record: BankRecord) -> bool:
        told = public(record)
        notice = {
            name: told[name] for name in ("request_no", "status", "code", "amount_minor", "completed_at")
        }
        request = urllib.request.Request(
            url, json.dumps(notice).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
                return bool(200 <= reply.status < 300)
        except OSError:
            return False
