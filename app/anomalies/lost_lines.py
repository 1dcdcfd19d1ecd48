"""A number that the bank knows and production's table has lost, or of which the bank cannot say it.

Agents find it where they look at one trade; collections ask the bank of no number without a line, and go on
calling such a trade unpaid, to be paid, or to be confirmed as failed.
"""

from typing import Any, Final, Literal

from agent.answers import ReportedTrade
from agent.facts import BankState, Facts
from agent.unpaid import calls_for_payout, confirms_failure, find_obstacle
from app.anomalies.models import Anomaly

LINE_LOST: Final = "the bank knows the number, and production's table has lost it"
"""The agents' word for it."""
CANNOT_SAY: Final = "bank"
"""The agents' word where the bank cannot say, as for any other doubt of it."""


def find_standing(anomaly: Anomaly, trade: ReportedTrade) -> tuple[Literal["human", "wait"], str] | None:
    """Return the outcome and the reason that an agent has found, where a report would take them back only
    for not asking, and no line has come since; None where the report counts.

    ``anomaly`` holds what was read before the report.
    """
    facts = trade.facts
    if anomaly.facts is None or facts is None or _has_line_come(anomaly, facts):
        return None
    is_unpaid = trade.outcome == "human" and find_obstacle(facts, "pay_again") is None
    is_repaired = trade.outcome == "repair" and (confirms_failure(facts) or calls_for_payout(facts))
    if anomaly.reason == LINE_LOST and (is_unpaid or (is_repaired and anomaly.state == "needs_human")):
        return "human", LINE_LOST
    return ("wait", CANNOT_SAY) if is_repaired and _waits_for_a_lost_line(anomaly) else None


def keep_lost_numbers(anomaly: Anomaly, before: dict[str, Any] | None) -> None:
    """Where that stands, keep in the newer facts which numbers were found; ``before``: the former."""
    if anomaly.facts and before:
        found = before["bank"].get("without_line", [])
        anomaly.facts = {**anomaly.facts, "bank": {**anomaly.facts["bank"], "without_line": found}}


def _has_line_come(anomaly: Anomaly, facts: Facts) -> bool:
    lines = {each["request_no"] for each in (anomaly.facts or {})["bank"]["requests"]}
    return not lines >= {each.request_no for each in facts.bank.requests}


def _waits_for_a_lost_line(anomaly: Anomaly) -> bool:
    """Whether it waits for the bank though that has failed each number that has a line.

    Nothing was begun, for a payout asked for waits for its own answer.
    """
    is_known = (anomaly.facts or {})["bank"]["state"] == BankState.FAIL
    is_begun = anomaly.state != "waiting" or anomaly.has_moved_money
    return anomaly.reason == CANNOT_SAY and is_known and not is_begun
