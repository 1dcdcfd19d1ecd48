"""Lists of anomalies: filters, keyset pages, counts, CSV rows."""

from datetime import timedelta

import pytest

from app import keyset
from app.anomalies import queries
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter, AnomalySort
from app.errors import InvalidError
from app.keyset import Cut
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import FIXER, NOW, make_anomaly, make_group


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


def plant(session: WorkSession, group: SystemGroup, count: int) -> list[int]:
    return [
        make_anomaly(
            session,
            group,
            amount_minor=None if number == 3 else (number * 7) % 5,
            last_seen_at=NOW + timedelta(seconds=number % 4),
        ).id
        for number in range(count)
    ]


def test_a_reason_is_found_with_its_detail_and_no_other_that_begins_alike(
    session: WorkSession, group: SystemGroup
) -> None:
    for number, reason in enumerate(("bank", "bank: payout failed: 51", "banking", "ledger"), 1):
        make_anomaly(session, group, trade_no=f"WD{number}", reason=reason)
    page = queries.list_anomalies(session, AnomalyFilter(reason="bank"), Cut())
    assert [one.trade_no for one in page.rows] == ["WD2", "WD1"]


@pytest.mark.parametrize("by", ["id", "amount", "last_seen"])
@pytest.mark.parametrize("is_descending", [True, False])
def test_pages_cover_every_row_once_both_ways(
    session: WorkSession, group: SystemGroup, by: str, is_descending: bool
) -> None:
    ids = plant(session, group, 17)
    sort = AnomalySort(by, is_descending)
    page = queries.list_anomalies(session, AnomalyFilter(), Cut(size=5), sort)
    assert page.before is None
    forward = [[row.id for row in page.rows]]
    while page.after is not None:
        page = queries.list_anomalies(session, AnomalyFilter(), Cut(after=page.after, size=5), sort)
        forward.append([row.id for row in page.rows])
    backward = [[row.id for row in page.rows]]
    while page.before is not None:
        page = queries.list_anomalies(session, AnomalyFilter(), Cut(before=page.before, size=5), sort)
        backward.append([row.id for row in page.rows])
    assert sorted(identity for ids_of_page in forward for identity in ids_of_page) == ids
    assert backward == forward[::-1]


def test_rows_added_while_paging_shift_nothing(session: WorkSession, group: SystemGroup) -> None:
    ids = plant(session, group, 6)
    first = queries.list_anomalies(session, AnomalyFilter(), Cut(size=3))
    plant(session, group, 2)
    second = queries.list_anomalies(session, AnomalyFilter(), Cut(after=first.after, size=3))
    assert [row.id for row in [*first.rows, *second.rows]] == ids[::-1]


@pytest.mark.parametrize(
    ("wanted", "trades"),
    [
        (AnomalyFilter(states=("waiting",)), ["CO2"]),
        (AnomalyFilter(tab="executable"), ["CO1", "CO2", "WD1"]),
        (AnomalyFilter(tab="human"), ["CO3", "WD2"]),
        (AnomalyFilter(tab="human", without_pairs=((1, FIXER),)), ["CO3", "WD1", "WD2"]),
        (AnomalyFilter(tab="executable", states=("waiting",)), ["CO2"]),
        (AnomalyFilter(outcome="human"), ["WD2"]),
        (AnomalyFilter(until_id=2), ["CO1", "CO2"]),
        (AnomalyFilter(kind="withdraw"), ["WD1", "WD2"]),
        (AnomalyFilter(fixer_code=FIXER), ["CO1", "CO2", "CO3"]),
        (AnomalyFilter(trade_no="CO"), ["CO1", "CO2", "CO3"]),
        (AnomalyFilter(reason="malformed"), ["WD2"]),
        (AnomalyFilter(amount_from=200, amount_to=300), ["CO2", "CO3"]),
        (AnomalyFilter(seen_from=NOW + timedelta(hours=1)), ["CO3", "WD1", "WD2"]),
        (AnomalyFilter(seen_to=NOW + timedelta(hours=1)), ["CO1", "CO2"]),
        (AnomalyFilter(seen_from=NOW + timedelta(days=1)), []),
        (AnomalyFilter(seen_to=NOW), []),
        (AnomalyFilter(group_ids=[]), []),
        (AnomalyFilter(pairs=()), []),
        (AnomalyFilter(pairs=((1, FIXER),)), ["CO1", "CO2", "CO3"]),
        (AnomalyFilter(without_pairs=((1, FIXER),)), ["WD1", "WD2"]),
    ],
)
def test_filters_narrow(
    session: WorkSession, group: SystemGroup, wanted: AnomalyFilter, trades: list[str]
) -> None:
    assert group.id == 1
    later = {"first_seen_at": NOW + timedelta(hours=2)}
    withdraw = {"kind": "withdraw", "fixer_code": "interWithdrawFixServiceImpl"}
    make_anomaly(session, group, trade_no="CO1", amount_minor=100)
    make_anomaly(session, group, trade_no="CO2", amount_minor=200, state="waiting")
    make_anomaly(session, group, trade_no="CO3", amount_minor=300, state="needs_human", **later)
    make_anomaly(session, group, trade_no="WD1", amount_minor=400, **later, **withdraw)
    make_anomaly(
        session,
        group,
        trade_no="WD2",
        amount_minor=None,
        state="needs_human",
        reason="malformed",
        outcome="human",
        **later,
        kind="withdraw",
        fixer_code=None,
    )
    page = queries.list_anomalies(session, wanted, Cut())
    assert sorted(row.trade_no for row in page.rows) == trades
    assert queries.count_anomalies(session, wanted).count == len(trades)
    assert sorted(row.trade_no for row in queries.csv_rows(session, wanted)) == trades


def test_counts_are_capped(session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(session, group, 6)
    monkeypatch.setattr(keyset, "COUNT_CAP", 5)
    assert str(queries.count_anomalies(session, AnomalyFilter())) == "5+"


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "WzFd", "bnVsbA"])
def test_a_bad_cursor_is_refused(session: WorkSession, cursor: str) -> None:
    with pytest.raises(InvalidError):
        queries.list_anomalies(session, AnomalyFilter(), Cut(after=cursor))


def test_csv_rows_go_on_over_batches(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "CSV_BATCH", 3)
    ids = plant(session, group, 7)
    assert [row.id for row in queries.csv_rows(session, AnomalyFilter())] == ids[::-1]


def test_open_anomalies_are_counted_whatever_their_kind(session: WorkSession, group: SystemGroup) -> None:
    make_anomaly(session, group)
    make_anomaly(session, group, kind="withdraw")
    make_anomaly(session, group, kind=None, state="needs_human")
    make_anomaly(session, group, state="repaired")
    counts = queries.open_counts(session, [group.id])
    assert queries.by_state(counts) == {"open": 2, "needs_human": 1}
    assert queries.by_state(queries.open_counts(session, None)) == queries.by_state(counts)
    assert queries.open_counts(session, []) == []


@pytest.mark.parametrize("by", ["amount", "last_seen"])
@pytest.mark.parametrize("is_descending", [True, False])
def test_states_read_apart_are_one_list(
    session: WorkSession, group: SystemGroup, by: str, is_descending: bool
) -> None:
    for number in range(24):
        state = ("open", "repaired", "needs_human", "ignored")[number % 4]
        amount = None if number % 7 == 0 else number * 5 % 11
        seen_at = NOW + timedelta(seconds=number * 3 % 5)
        make_anomaly(session, group, state=state, amount_minor=amount, last_seen_at=seen_at)
    wanted = AnomalyFilter(states=("repaired", "open", "needs_human"))
    sort = AnomalySort(by, is_descending)
    whole = queries.list_anomalies(session, wanted, Cut(size=100), sort).rows
    assert len(whole) == 18
    shown, cut = [], Cut(size=4)
    while True:
        page = queries.list_anomalies(session, wanted, cut, sort)
        shown += page.rows
        if page.after is None:
            break
        cut = Cut(after=page.after, size=4)
    assert shown == whole
    assert shown == sorted(whole, key=lambda row: _rank(row, by), reverse=is_descending)
    back = queries.list_anomalies(session, wanted, Cut(before=page.before, size=4), sort).rows
    assert back == whole[12:16]


def _rank(row: Anomaly, by: str) -> tuple[object, int]:
    amount = -1 if row.amount_minor is None else row.amount_minor
    return (amount if by == "amount" else row.last_seen_at, row.id)


def test_pairs_are_matched_group_by_group(session: WorkSession, group: SystemGroup) -> None:
    other = make_group(session, "PBMS")
    rows = {
        (one.id, fixer_code): make_anomaly(session, one, fixer_code=fixer_code).id
        for one in (group, other)
        for fixer_code in ("a", "b", "c")
    }
    pairs = ((group.id, "a"), (group.id, "b"), (other.id, "b"))
    page = queries.list_anomalies(session, AnomalyFilter(pairs=pairs), Cut())
    assert {row.id for row in page.rows} == {rows[pair] for pair in pairs}
    assert queries.count_anomalies(session, AnomalyFilter(pairs=())).count == 0
