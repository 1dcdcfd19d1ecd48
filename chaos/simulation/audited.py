"""What people order stands in the audit once, under its own word: neither left out nor told twice.

The server's tables tell what was ordered; the audit is held against them.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Final

ORDERED: Final[dict[str, str]] = {
    "order.propose": "SELECT id FROM money_order",
    "order.confirm": "SELECT id FROM money_order WHERE confirmed_by_id IS NOT NULL",
    "order.issue": "SELECT id FROM money_order WHERE issued_at IS NOT NULL",
    "order.reject": "SELECT id FROM money_order WHERE state = 'rejected'",
    "order.withdraw": "SELECT id FROM money_order WHERE state = 'withdrawn'",
    "order.expired": "SELECT id FROM money_order WHERE state = 'expired'",
    "order.done": "SELECT id FROM money_order WHERE state = 'done'",
    "stop.set": "SELECT id FROM stop WHERE scope <> 'here'",
    "stop.lift": "SELECT id FROM stop WHERE scope <> 'here' AND lifted_at IS NOT NULL",
    "breaker.reset": "SELECT id FROM breaker WHERE reset_at IS NOT NULL",
    "run.start": "SELECT id FROM collection_run",
    "attempt.cancel": """SELECT attempt.id FROM anomaly_event AS event
        JOIN attempt ON attempt.command_id = event.command_id WHERE event.code = 'cancel_requested'""",
}
"""Each action of the audit and the ids of what it is to be told of, once for each row.

An agent's local stop is told of in that agent's name when it is over, which makes it a row.
"""
_CLICKS: Final = """
    SELECT attempt.id, attempt."trigger", count(entry.id) AS told FROM attempt
    LEFT JOIN audit_entry AS entry ON entry.object_type = 'attempt' AND entry.object_id = attempt.id
        AND entry.action IN ('attempt.start', 'attempt.retry')
    GROUP BY attempt.id HAVING told <> (attempt."trigger" = 'click')"""
_ORDERED_ATTEMPTS: Final = """
    SELECT attempt.id, attempt."trigger", count(money_order.id) AS told FROM attempt
    LEFT JOIN money_order ON money_order.attempt_id = attempt.id AND money_order.action = attempt."trigger"
    GROUP BY attempt.id HAVING told <> (attempt."trigger" IN ('pay_again', 'reverse'))"""


def gaps(server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield whatever was ordered and not told once, and what is told of and was not ordered."""
    for action, query in ORDERED.items():
        ordered = Counter(str(row[0]) for row in server.execute(query))
        entries = server.execute("SELECT object_id FROM audit_entry WHERE action = ?", (action,))
        told = Counter(str(row[0]) for row in entries)
        for one in sorted(ordered.keys() | told.keys(), key=int):
            if ordered[one] != told[one]:
                yield "I12", f"{action} of {one} is told {told[one]} times, not {ordered[one]}"


def unclicked(server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield the attempts that do not rest on one audited click, or one order, as their triggers say."""
    for attempt_id, trigger, told in server.execute(_CLICKS):
        yield "I7", f"attempt {attempt_id}, begun by {trigger}, was clicked {told} times"
    for attempt_id, trigger, told in server.execute(_ORDERED_ATTEMPTS):
        yield "I7", f"attempt {attempt_id}, begun by {trigger}, was ordered {told} times"
