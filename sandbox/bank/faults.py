"""Faults to switch on: by number, by per cent, for the next calls, on one operation or all submissions."""

import random
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

TIMEOUT_BEFORE = "timeout_before"
TIMEOUT_AFTER = "timeout_after"
UNKNOWN_CODE = "unknown_code"
HTML = "html"
SERVER_ERROR = "server_error"
SLOW = "slow"
WRONG_AMOUNT = "wrong_amount"
LATE_SUCCESS = "late_success"
REJECT = "reject"

SUBMISSIONS = ("payout", "receipt")
OPERATIONS = (*SUBMISSIONS, "inquiry", "settlement")
_ON_ANY = (TIMEOUT_BEFORE, HTML, SERVER_ERROR, SLOW, WRONG_AMOUNT)
_ON_SUBMISSIONS = (TIMEOUT_AFTER, LATE_SUCCESS, REJECT)
KINDS = (*_ON_ANY, UNKNOWN_CODE, *_ON_SUBMISSIONS)


@dataclass(frozen=True)
class Fault:
    """All conditions given must hold. ``operation`` None means payouts and receipts.

    ``seconds`` is how long a time-out hangs, a slow answer waits or a late success takes;
    ``accept`` makes an html or server_error answer come after the request was taken in.
    """

    id: int
    kind: str
    request_no: str | None = None
    percent: float | None = None
    next_calls: int | None = None
    operation: str | None = None
    code: str | None = None
    seconds: float = 5.0
    accept: bool = False


class FaultBoard:
    """What is switched on now; safe between threads. The first fault that fits is the one that happens."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()
        self._lock = threading.Lock()
        self._faults: dict[int, Fault] = {}
        self._last_id = 0

    def set(self, wanted: Mapping[str, object]) -> Fault:
        """Switches a fault on. Raises ValueError, with the field, for what makes no sense."""
        checked = _checked(wanted)
        with self._lock:
            self._last_id += 1
            fault = Fault(self._last_id, **checked)  # type: ignore[arg-type]
            self._faults[fault.id] = fault
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def all(self) -> list[dict[str, object]]:
        with self._lock:
            return [asdict(fault) for fault in self._faults.values()]

    def strike(self, operation: str, request_nos: Collection[str]) -> Fault | None:
        """The fault that befalls this call, if any; a counted one is used up by it."""
        with self._lock:
            for fault in self._faults.values():
                if self._fits(fault, operation, request_nos):
                    self._use_up(fault)
                    return fault
        return None

    def _fits(self, fault: Fault, operation: str, request_nos: Collection[str]) -> bool:
        if (operation not in SUBMISSIONS) if fault.operation is None else (operation != fault.operation):
            return False
        if fault.request_no is not None and fault.request_no not in request_nos:
            return False
        return fault.percent is None or self._chance.random() * 100 < fault.percent

    def _use_up(self, fault: Fault) -> None:
        if fault.next_calls is None:
            return
        if fault.next_calls <= 1:
            del self._faults[fault.id]
        else:
            self._faults[fault.id] = Fault(**{**asdict(fault), "next_calls": fault.next_calls - 1})


def _checked(wanted: Mapping[str, object]) -> dict[str, object]:
    fields = set(Fault.__dataclass_fields__) - {"id"}
    unknown = set(wanted) - fields
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]}")
    given = {name: value for name, value in wanted.items() if value is not None}
    kind, operation = given.get("kind"), given.get("operation")
    if kind not in KINDS:
        raise ValueError(f"kind: one of {', '.join(KINDS)}")
    if operation is not None and operation not in OPERATIONS:
        raise ValueError(f"operation: one of {', '.join(OPERATIONS)}")
    if operation in ("inquiry", "settlement") and kind in _ON_SUBMISSIONS:
        raise ValueError(f"kind: {kind} happens to payouts and receipts only")
    if kind == REJECT and not isinstance(given.get("code"), str):
        raise ValueError("code: a rejection needs one")
    for name in ("request_no", "code"):
        if name in given and not isinstance(given[name], str):
            raise ValueError(f"{name}: text")
    for name, least, most in (("percent", 0, 100), ("next_calls", 1, 1_000_000), ("seconds", 0, 3600)):
        _check_number(given, name, least, most)
    if not isinstance(given.get("accept", False), bool):
        raise ValueError("accept: true or false")
    return given


def _check_number(given: Mapping[str, object], name: str, least: float, most: float) -> None:
    value = given.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name}: a number from {least} to {most}")
    if name == "next_calls" and not isinstance(value, int):
        raise ValueError(f"{name}: a whole number")
