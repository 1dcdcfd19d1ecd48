"""Where the time of a repair goes: the calls to journal, production and bank, timed under a word each."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Final

TRADES: Final = {
    "find_repair": "steps",
    "claim_repair": "steps",
    "renew_repair": "steps",
    "record_step": "steps",
    "close_repair": "steps",
    "write_row": "row",
    "find": "reading",
    "bank_requests": "reading",
    "now": "reading",
    "open_bank_request": "row",
    "note_bank_request": "row",
}
LEDGER: Final = {"now": "reading", "legs": "reading", "post": "ledger"}
BANK: Final = {"facts": "bank", "pay": "bank"}
JOURNAL: Final = {"find": "journal", "receive_all": "journal", "finish": "journal", "unsent": "journal"}
SAFETY: Final = ("journal", "steps", "read back")
"""What a repair would not need if nothing ever failed."""


class Watch:
    """Adds up seconds by what they were spent on, over all threads.

    What is read after a row was written is reading back.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._here = threading.local()

    def timed(self, subject: Any, what: dict[str, str]) -> Any:
        """Return the subject with the calls of ``what`` timed under their words, the others as they are."""
        return _Timed(subject, self, what)

    def call(self, word: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Make a call and count it."""
        if word in ("reading", "bank") and getattr(self._here, "has_written", False):
            word = "read back"
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent = time.perf_counter() - began
            name = function.__name__
            if name in ("write_row", "find_repair"):
                self._here.has_written = name == "write_row"
            with self._lock:
                self.seconds[word] += spent
                self.calls[word] += 1


class _Timed:
    def __init__(self, subject: Any, watch: Watch, what: dict[str, str]) -> None:
        self._subject = subject
        for name, word in what.items():
            setattr(self, name, self._timing(watch, word, getattr(subject, name)))

    @staticmethod
    def _timing(watch: Watch, word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: watch.call(word, function, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subject, name)
