"""A payout's number that the bank knows and production's table has lost.

Agents find it where they look at one trade; collections ask the bank of no number without a line, and go on
calling such a trade unpaid.
"""

from typing import Final

from agent.answers import ReportedTrade
from agent.unpaid import find_obstacle
from app.anomalies.models import Anomaly

LINE_LOST: Final = "the bank knows the number, and production's table has lost it"
"""The agents' word for it."""


def is_still_lost(anomaly: Anomaly, trade: ReportedTrade) -> bool:
    """Return whether a report calls unpaid what an agent has found to be so only for want of a line, and no
    line has come since. ``anomaly`` holds what was read before the report.
    """
    facts = trade.facts
    if anomaly.reason != LINE_LOST or anomaly.facts is None or facts is None:
        return False
    if trade.outcome != "human" or find_obstacle(facts, "pay_again") is not None:
        return False
    lines = {each["request_no"] for each in anomaly.facts["bank"]["requests"]}
    return lines >= {each.request_no for each in facts.bank.requests}
