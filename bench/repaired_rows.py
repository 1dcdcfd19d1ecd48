"""Anomalies and their repairs, as a month of work leaves them."""

from datetime import datetime, timedelta
from typing import Any, Final

from bench.scattered import CODES, Rows, agent_of, group_of, moment, trade_no

STATES: Final = (
    *("repaired",) * 12,
    *("healed",) * 2,
    "ignored",
    "open",
    "waiting",
    "exhausted",
    "needs_human",
)
"""Four in nineteen are still open: more than a month's rest, so that open ones are many as well."""
OUTCOMES: Final = {
    "repaired": "repaired",
    "healed": "already_consistent",
    "exhausted": "failed",
    "waiting": "wait",
}


def _row(number: int, status: int) -> dict[str, Any]:
    is_booked = status == 8
    return {
        "TRD_ID": number,
        "TRD_NUM": trade_no(number),
        "TRD_STATUS": status,
        "ACC_TRD_NUM": f"GA{number:018d}" if is_booked else None,
        "ACC_TRD_STATUS": int(is_booked),
        "E_ACC_TRD_NUM": None,
        "E_ACC_TRD_STATUS": None,
        "FAILED_MSG": None,
    }


def anomalies(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        at, state = moment(number, count, now), STATES[number % len(STATES)]
        is_closed = state in ("repaired", "healed", "ignored")
        yield {
            "id": number,
            "group_id": group_of(number),
            "trade_no": trade_no(number),
            "trade_id": number,
            "kind": "recharge" if number % 2 else "withdraw",
            "channel": "ABC",
            "amount_minor": number * 37 % 5_000_000,
            "fixer_code": CODES[number % len(CODES)],
            "outcome": "human" if state == "needs_human" else "wait" if state == "waiting" else "repair",
            "reason": "bank" if state == "waiting" else "",
            "state": state,
            "resolution": "success" if state == "repaired" else None,
            "row": _row(number, 8 if state == "repaired" else 0),
            "row_hash": f"hash-{number}",
            "row_changed_at": at - timedelta(hours=1),
            "attempts": 1,
            "first_run_id": number,
            "last_run_id": number,
            "first_seen_at": at,
            "last_seen_at": at,
            "changed_at": at,
            "closed_at": at + timedelta(seconds=5) if is_closed else None,
        }


def events(count: int, now: datetime) -> Rows:
    for number in range(2, 2 * count + 2):
        state = STATES[number // 2 % len(STATES)]
        yield {
            "anomaly_id": number // 2,
            "at": moment(number // 2, count, now),
            "from_state": "open" if number % 2 else None,
            "to_state": state if number % 2 else "open",
            "code": "outcome_repaired" if number % 2 else "reported",
            "actor_name": "piculus",
        }


def executions(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        at = moment(number, count, now)
        yield {
            "id": number,
            "group_id": group_of(number),
            "anomaly_id": number,
            "plan_id": 1 + number % len(CODES),
            "plan_version": 1,
            "fixer_code": CODES[number % len(CODES)],
            "trade_no": trade_no(number),
            "before": _row(number, 0),
            "after": _row(number, 8),
            "created_at": at,
            "finished_at": at + timedelta(seconds=3),
        }


def attempts(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        at, state = moment(number, count, now), STATES[number % len(STATES)]
        yield {
            "id": number,
            "execution_id": number,
            "anomaly_id": number,
            "group_id": group_of(number),
            "number": 1,
            "command_id": f"r{number:031d}",
            "agent_id": agent_of(number, count),
            "trigger": "tick" if number % 10 else "click",
            "actor_name": "piculus",
            "outcome": OUTCOMES.get(state, "needs_human"),
            "before": _row(number, 0),
            "after": _row(number, 8),
            "created_at": at,
            "started_at": at,
            "finished_at": at + timedelta(seconds=3),
            "duration_ms": 1_000 + number % 2_000,
        }


def steps(count: int, now: datetime) -> Rows:
    for number in range(2, 2 * count + 2):
        at = moment(number // 2, count, now)
        yield {
            "attempt_id": number // 2,
            "seq": number % 2 + 1,
            "name": "write_row" if number % 2 else "post_leg_1",
            "key": f"PCL:SYS:{trade_no(number // 2)}:{number % 2 + 1}",
            "state": "done",
            "moves_money": number % 2 == 0,
            "started_at": at,
            "finished_at": at,
        }
