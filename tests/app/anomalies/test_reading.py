"""Row, hash and amount of a trade are those of one reading."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from agent.facts import Facts
from app.anomalies import reading
from app.anomalies.models import Anomaly
from app.unit_of_work import WorkSession
from tests.factories import NOW, facts_of, make_anomaly, make_group, row_of

LATER = NOW + timedelta(minutes=3)


@pytest.fixture
def anomaly(session: WorkSession) -> Anomaly:
    return make_anomaly(session, make_group(session))


def facts(anomaly: Anomaly, **fields: Any) -> Facts:
    return msgspec.structs.replace(facts_of(anomaly.trade_no), **fields)


def pair(anomaly: Anomaly) -> tuple[str, int | None, str]:
    return anomaly.row_hash, anomaly.amount_minor, anomaly.currency


def test_the_amount_comes_with_its_row(anomaly: Anomaly) -> None:
    row = row_of(anomaly.trade_no, 1, status=9)
    told = facts(anomaly, amount_minor=99_000, currency="USD", row_hash="hash-2")
    reading.take(anomaly, row, "hash-2", told, LATER)
    assert pair(anomaly) == ("hash-2", 99_000, "USD")
    assert (anomaly.row, anomaly.last_seen_at) == (row, LATER)


def test_a_row_without_facts_is_shown_but_not_what_may_be_repaired(anomaly: Anomaly) -> None:
    row = row_of(anomaly.trade_no, 1, status=9)
    reading.take(anomaly, row, "hash-2", None, LATER)
    assert pair(anomaly) == ("hash-1", 10_000, "CNY")
    assert anomaly.row == row


def test_a_row_read_after_the_facts_leaves_their_hash(anomaly: Anomaly) -> None:
    told = facts(anomaly, amount_minor=99_000, row_hash="hash-2")
    reading.take(anomaly, row_of(anomaly.trade_no, 1), "hash-3", told, LATER)
    assert pair(anomaly) == ("hash-2", 99_000, "CNY")


@pytest.mark.parametrize(
    ("amount", "currency", "kept"),
    [(-1, "CNY", (None, "CNY")), (2**63, "CNY", (None, "CNY")), (1, "DOLLAR", (1, ""))],
)
def test_an_amount_that_makes_no_sense_is_unreadable(
    anomaly: Anomaly, amount: int, currency: str, kept: tuple[int | None, str]
) -> None:
    told = facts(anomaly, amount_minor=amount, currency=currency)
    reading.take(anomaly, row_of(anomaly.trade_no, 1), "hash-2", told, LATER)
    assert pair(anomaly) == ("hash-2", *kept)
