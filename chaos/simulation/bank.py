"""The bank between agent and books: the sandbox's own counter, reached over calls that may be lost.

A call may never arrive, its answer may get lost, or it may arrive late: an original that everybody has given
up and that is paid nevertheless.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from io import BytesIO
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import urllib3
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from chaos.simulation.loom import Loom, Owner
from sandbox.bank.desk import SILENCE, Answer, BadRequestError, Desk
from sandbox.cases import LoadedCase

LATENCY: Final = (0.002, 0.2)
TIMEOUT_S: Final = 15.0
FAULTS: Final = (
    "lost before",
    "lost after",
    "late",
    "html",
    "html after",
    "unavailable",
    "slow",
    "late success",
    "reject",
    "accepted",
)
ON_PAYOUTS: Final = ("accepted", "html after", "late", "late success", "reject")
"""Faults of payouts alone; there they come as often as all the others."""

PAYOUTS: Final = "/payouts"
PAYOUT_FAULTS: Final = 3
"""So many payouts may still meet a fault when the rest has stopped: many are not asked for before."""


class BankLine:
    """Carries an agent's calls to the counter. ``life`` is the bank's process: dead, it refuses.

    ``refusals``: so many new payouts the bank refuses for good, rough or not: that is its word, no fault.
    ``asked`` hears the number of each payout call. ``taken_in`` hears the number of each that arrives, and
    whether the books did not hold it.
    """

    def __init__(
        self,
        loom: Loom,
        desk: Desk,
        life: Owner,
        chance: random.Random,
        counts: Counter[str],
        rate: float,
        asked: Callable[[str], None],
        taken_in: Callable[[str, bool], None],
    ) -> None:
        self._loom = loom
        self._desk = desk
        self._life = life
        self._chance = chance
        self._counts = counts
        self.rate = rate
        self._asked = asked
        self._taken_in = taken_in
        self.refuses_payouts = False
        self.is_rough = True
        self.refusals = 0
        self._owed = PAYOUT_FAULTS

    def urlopen(self, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Answer a call. Raises urllib3's errors as a real pool of connections does."""
        self._loom.sleep(self._chance.uniform(*LATENCY))
        if self._life.is_dead:
            raise NewConnectionError(_NOT_CONNECTED, "connection refused")
        body = options["body"] or b""
        if url == PAYOUTS:
            self._asked(str(json.loads(body)["request_no"]))
        fault = self._fault(url)
        if fault in ("lost before", "late"):
            if fault == "late":
                self._deliver_late(url, body)
            self._loom.sleep(TIMEOUT_S)
            raise ReadTimeoutError(_NO_POOL, url, "no answer")
        if fault == "html":
            return _page()
        if fault == "unavailable":
            return _response(Answer(503, {"error": "unavailable"}))
        if fault == "slow":
            self._loom.sleep(self._chance.uniform(1, 60))
        answer = self._answer(url, body, fault)
        self._loom.sleep(self._chance.uniform(*LATENCY))
        if fault == "lost after" or answer.is_silence or self._life.is_dead:
            self._loom.sleep(TIMEOUT_S)
            raise ReadTimeoutError(_NO_POOL, url, "no answer")
        return _page() if fault == "html after" else _response(answer)

    def close(self) -> None:
        """No connection is kept."""

    def _fault(self, url: str) -> str:
        is_payout = url == PAYOUTS
        # Where looking fails as often, a payout is seldom come to.
        rate = self.rate if is_payout else self.rate / 4
        if not (self.is_rough or (is_payout and self._owed)) or self._chance.random() >= rate:
            return ""
        self._owed -= is_payout and self._owed > 0
        fault = self._chance.choice(FAULTS + ON_PAYOUTS if is_payout else FAULTS)
        if fault in ON_PAYOUTS and not is_payout:
            return ""
        self._counts[f"bank {fault}"] += 1
        return fault

    def _deliver_late(self, url: str, body: bytes) -> None:
        """The call was not lost: it comes when nobody expects it any more."""
        delay = self._chance.choice((30.0, 300.0, 900.0))

        def deliver() -> None:
            self._loom.sleep(delay)
            if not self._life.is_dead:
                self._answer(url, body, "")

        self._loom.spawn(_Mail(), "late call", deliver)

    def pay_by_production(self, request_no: str, loaded: LoadedCase) -> None:
        """A payout that production asked for, now or long ago, comes in; nobody waits for the answer."""
        wanted = {
            "request_no": request_no,
            "amount_minor": loaded.amount_minor,
            "currency": "CNY",
            "payee_account": loaded.bank_account_no,
        }
        self._desk.submit("payout", wanted)

    def _answer(self, url: str, body: bytes, fault: str) -> Answer:
        board = self._desk.board
        if fault == "late success":
            late = self._chance.choice((60.0, 200.0, 290.0))
            board.set({"kind": "late_success", "next_calls": 1, "seconds": late})
        elif fault == "reject" or (self.refuses_payouts and url == PAYOUTS):
            board.set({"kind": "reject", "next_calls": 1, "code": self._chance.choice(("E1001", "E1003"))})
        wanted = json.loads(body) if body else {}
        number = str(wanted["request_no"]) if url == PAYOUTS else ""
        was_known = not number or number in self._desk.books.find([number])
        if self.refusals and not was_known:
            self.refusals -= 1
            self._counts["bank refuses"] += 1
            board.set({"kind": "reject", "next_calls": 1, "code": "E1001"})
        try:
            answer = self._route(url, wanted, fault)
        except BadRequestError:
            answer = Answer(400, {"error": "bad_request"})
        finally:
            board.clear()
        if number and number in self._desk.books.find([number]):
            self._taken_in(number, not was_known)
        return answer

    def _route(self, url: str, wanted: object, fault: str) -> Answer:
        desk, path = self._desk, urlsplit(url).path
        routes: dict[str, Callable[[], Answer]] = {
            PAYOUTS: lambda: desk.submit("payout", wanted),
            "/inquiries": lambda: desk.inquire(wanted),
            "/days": lambda: desk.days(parse_qs(urlsplit(url).query).get("at", [None])[0]),
        }
        if path.startswith("/settlements/"):
            return desk.settlement(path.rpartition("/")[2])
        if path not in routes:
            return SILENCE
        if fault == "accepted" and path == PAYOUTS:
            desk._processing_seconds, before = 120.0, desk._processing_seconds
            try:
                return routes[path]()
            finally:
                desk._processing_seconds = before
        return routes[path]()


class _Mail:
    """The network itself holds a late call; it never dies."""

    name = "network"
    is_dead = False


_NO_POOL: Any = None
_NOT_CONNECTED: Any = None
"""What urllib3's errors tell of; nobody asks them."""


def _page() -> urllib3.BaseHTTPResponse:
    return _http(200, b"<!doctype html><title>Gateway</title>", {"Content-Type": "text/html"})


def _response(answer: Answer) -> urllib3.BaseHTTPResponse:
    headers = {"Content-Type": answer.content_type, "Date": format_datetime(datetime.now(UTC), usegmt=True)}
    body = answer.body
    return _http(answer.status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)


def _http(status: int, content: bytes, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    return urllib3.HTTPResponse(BytesIO(content), headers, status, preload_content=False)
