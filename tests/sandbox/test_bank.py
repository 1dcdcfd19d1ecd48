"""The bank over HTTP: idempotency, faults, settlement files, notices."""

import csv
import hashlib
import json
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from sandbox.bank.books import Submission, Verdict
from sandbox.bank.client import BankClient
from sandbox.bank.days import BankCalendar
from sandbox.bank.notices import NoticeClerk
from sandbox.bank.records import SUCCESS, BankRecord
from sandbox.bank.server import RunningBank
from sandbox.bank.settlement import settlement_file
from sandbox.clock import ManualClock, iso
from sandbox.errors import BankError, BankUnreachableError
from sandbox.notices import taking_notices
from sandbox.world import World

CARD = "6222021234567890123"


def pay(client: BankClient, request_no: str = "WD1-0", amount_minor: int = 500, account: str = CARD) -> str:
    reply = client.submit("payout", request_no, amount_minor, "CNY", account)
    return f"{reply.status} {reply.code or ''}".strip()


def ask(client: BankClient, *request_nos: str) -> list[dict[str, object]]:
    answer = client.call("POST", "/inquiries", {"request_nos": list(request_nos)})
    return answer["records"]  # type: ignore[return-value]


def get(bank: RunningBank, path: str, token: str | None = None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token or bank.token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(bank.url + path, headers=headers)) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_payout_is_made_once_however_often_it_is_asked(client: BankClient, world: World) -> None:
    assert pay(client) == pay(client) == "success"
    assert [record.amount_minor for record in world.payouts("WD1")] == [500]


def test_a_bank_that_does_not_deduplicate_keeps_each_asking_for_a_payout(world: World) -> None:
    with world.bank(deduplicates=False) as bank:
        client = BankClient(bank.url, bank.token)
        pay(client)
        assert "asked_again" not in {one.rule for one in world.report().violations}
        bank.faults.set({"kind": "server_error", "next_calls": 1})
        with pytest.raises(BankError):
            pay(client)
        client.close()
    assert world.books.askings() == {"WD1-0": 2}
    again = [one for one in world.report().violations if one.rule == "asked_again"]
    assert [one.subject for one in again] == ["WD1-0"]


def test_a_bank_that_deduplicates_keeps_no_asking(client: BankClient, world: World) -> None:
    pay(client)
    pay(client)
    assert world.books.askings() == {}


@pytest.mark.parametrize("change", [{"amount_minor": 501}, {"account": CARD[:-1] + "4"}])
def test_a_known_number_with_other_content_is_a_conflict(
    client: BankClient, world: World, change: dict[str, object]
) -> None:
    pay(client)
    with pytest.raises(BankError, match="conflict"):
        pay(client, **change)  # type: ignore[arg-type]
    assert [record.amount_minor for record in world.payouts("WD1")] == [500]


def test_a_number_of_a_payout_cannot_become_a_receipt(client: BankClient) -> None:
    pay(client)
    with pytest.raises(BankError, match="409"):
        client.submit("receipt", "WD1-0", 500, "CNY", CARD)


def test_of_many_asking_at_once_all_hear_of_the_one_payout(bank: RunningBank, world: World) -> None:
    answers: list[str] = []

    def ask_for_it() -> None:
        client = BankClient(bank.url, bank.token)
        answers.append(pay(client))
        client.close()

    threads = [threading.Thread(target=ask_for_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["success"] * 8
    assert len(world.payouts("WD1")) == 1


@pytest.mark.parametrize(
    ("ending", "kind", "code"),
    [("00001", "payout", "E1001"), ("00002", "payout", "E1002"), ("00003", "receipt", "E2001")],
)
def test_some_accounts_are_refused_with_a_code(client: BankClient, ending: str, kind: str, code: str) -> None:
    reply = client.submit(kind, "X-0", 100, "CNY", CARD[:-5] + ending)
    assert (reply.status, reply.code) == ("failed", code)


def test_many_numbers_are_asked_at_once_unknown_ones_included(client: BankClient) -> None:
    pay(client)
    assert [record["status"] for record in ask(client, "WD9-0", "WD1-0")] == ["not_found", "success"]


def test_one_number_is_asked_by_its_address(client: BankClient, bank: RunningBank) -> None:
    pay(client, "co 7/不明#-0")
    status, body = get(bank, "/requests/co%207%2F%E4%B8%8D%E6%98%8E%23-0")
    assert (status, json.loads(body)["amount_minor"]) == (200, 500)
    status, body = get(bank, "/requests/WD9-0")
    assert (status, json.loads(body)["status"]) == (404, "not_found")


def test_more_than_five_hundred_numbers_are_refused(client: BankClient) -> None:
    with pytest.raises(BankError, match="500"):
        ask(client, *(f"WD{i}-0" for i in range(501)))


def test_a_stranger_learns_nothing(bank: RunningBank) -> None:
    assert get(bank, "/requests/WD1-0", token="wrong")[0] == 401
    assert get(bank, "/healthz", token="wrong")[0] == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {"request_no": "X-0", "amount_minor": 0, "currency": "CNY", "payee_account": CARD},
        {"request_no": "X-0", "amount_minor": True, "currency": "CNY", "payee_account": CARD},
        {"request_no": "X-0", "amount_minor": "5", "currency": "CNY", "payee_account": CARD},
        {"request_no": "", "amount_minor": 5, "currency": "CNY", "payee_account": CARD},
        {"request_no": "X-0", "amount_minor": 5, "currency": "CNY", "payer_account": CARD},
        [],
    ],
)
def test_a_malformed_payout_is_refused(client: BankClient, world: World, wanted: object) -> None:
    with pytest.raises(BankError, match="400"):
        client.call("POST", "/payouts", wanted)
    assert world.payouts("X") == []


# Faults


def test_a_timeout_before_acceptance_leaves_nothing(
    client: BankClient, bank: RunningBank, world: World
) -> None:
    bank.faults.set({"kind": "timeout_before", "next_calls": 1, "seconds": 0})
    with pytest.raises(BankUnreachableError):
        pay(client)
    assert world.payouts("WD1") == []
    assert pay(client) == "success"


def test_a_timeout_after_acceptance_has_paid(client: BankClient, bank: RunningBank, world: World) -> None:
    bank.faults.set({"kind": "timeout_after", "next_calls": 1, "seconds": 0})
    with pytest.raises(BankUnreachableError):
        pay(client)
    assert pay(client) == "success"
    assert len(world.payouts("WD1")) == 1


@pytest.mark.parametrize("kind", ["html", "server_error"])
@pytest.mark.parametrize("accept", [False, True])
def test_a_useless_answer_may_or_may_not_have_paid(
    client: BankClient, bank: RunningBank, world: World, kind: str, accept: bool
) -> None:
    bank.faults.set({"kind": kind, "next_calls": 1, "accept": accept})
    with pytest.raises(BankUnreachableError):
        pay(client)
    assert len(world.payouts("WD1")) == int(accept)


def test_an_unknown_code_stays_with_the_number(client: BankClient, bank: RunningBank) -> None:
    bank.faults.set({"kind": "unknown_code", "next_calls": 1})
    assert pay(client) == pay(client) == "failed E9999"


def test_a_rejection_befalls_only_the_number_named(client: BankClient, bank: RunningBank) -> None:
    bank.faults.set({"kind": "reject", "code": "E1002", "request_no": "WD2-0"})
    assert [pay(client, "WD1-0"), pay(client, "WD2-0")] == ["success", "failed E1002"]


def test_a_wrong_amount_is_paid_and_stays_so(client: BankClient, bank: RunningBank, world: World) -> None:
    bank.faults.set({"kind": "wrong_amount", "next_calls": 1})
    assert pay(client) == pay(client) == "success"
    assert [record.amount_minor for record in world.payouts("WD1")] == [501]


def test_a_wrong_amount_on_inquiry_is_only_said(client: BankClient, bank: RunningBank) -> None:
    pay(client)
    bank.faults.set({"kind": "wrong_amount", "operation": "inquiry", "next_calls": 1})
    assert [ask(client, "WD1-0")[0]["amount_minor"] for _ in range(2)] == [501, 500]


def test_a_failure_may_turn_into_a_late_success(
    client: BankClient, bank: RunningBank, clock: ManualClock, world: World
) -> None:
    bank.faults.set({"kind": "late_success", "next_calls": 1, "seconds": 30})
    assert pay(client) == "failed E1003"
    clock.advance(30)
    assert pay(client) == "success"
    assert len(world.payouts("WD1")) == 1


def test_an_answer_is_dated_by_the_banks_own_clock(bank: RunningBank, clock: ManualClock) -> None:
    with urllib.request.urlopen(bank.url + "/healthz") as reply:
        assert parsedate_to_datetime(reply.headers["Date"]) == clock().replace(microsecond=0, tzinfo=UTC)


def test_a_slow_answer_is_an_answer(client: BankClient, bank: RunningBank) -> None:
    bank.faults.set({"kind": "slow", "next_calls": 1, "seconds": 0.01})
    assert pay(client) == "success"


def test_a_fault_in_per_cent_befalls_about_that_share(bank: RunningBank) -> None:
    bank.faults.set({"kind": "html", "percent": 100})
    assert bank.faults.strike("payout", ("X-0",)) is not None
    bank.faults.clear()
    bank.faults.set({"kind": "html", "percent": 0})
    assert bank.faults.strike("payout", ("X-0",)) is None


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": "earthquake"},
        {"kind": "reject"},
        {"kind": "html", "percent": 101},
        {"kind": "html", "next_calls": 0},
        {"kind": "reject", "code": "E1001", "operation": "inquiry"},
        {"kind": "html", "colour": "red"},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(client: BankClient, wanted: object) -> None:
    with pytest.raises(BankError, match="400"):
        client.call("POST", "/faults", wanted)


def test_faults_are_listed_and_cleared(client: BankClient) -> None:
    client.call("POST", "/faults", {"kind": "server_error"})
    assert len(client.call("GET", "/faults")["faults"]) == 1  # type: ignore[arg-type]
    client.call("DELETE", "/faults")
    assert client.call("GET", "/faults")["faults"] == []
    assert pay(client) == "success"


# Bank days and settlement files


def test_a_day_and_the_next_are_told_of_any_moment(client: BankClient, clock: ManualClock) -> None:
    days = client.call("GET", f"/days?at={iso(clock())}")["days"]
    assert [day["day"] for day in days] == ["20260302T1200", "20260302T1201"]  # type: ignore[attr-defined]
    assert [day["is_closed"] for day in days] == [False, False]  # type: ignore[attr-defined]
    clock.advance(60)
    days = client.call("GET", "/days?at=2026-03-02T20:00:20%2B08:00")["days"]
    assert [day["is_closed"] for day in days] == [True, False]  # type: ignore[attr-defined]


def test_a_settlement_file_is_refused_until_the_day_closes(bank: RunningBank, clock: ManualClock) -> None:
    assert get(bank, "/settlements/20260302T1200")[0] == 409
    clock.advance(40)
    assert get(bank, "/settlements/20260302T1200")[0] == 200


@pytest.mark.parametrize("day", ["20260302", "2026-03-02T12:00", "20261399T1200", "%2e%2e"])
def test_a_day_of_another_name_is_not_found(bank: RunningBank, day: str) -> None:
    assert get(bank, f"/settlements/{day}")[0] == 404


def test_a_settlement_file_lists_what_was_paid_and_proves_itself(
    bank: RunningBank, client: BankClient, clock: ManualClock
) -> None:
    pay(client, "WD1-0", 500)
    pay(client, "WD2-0", 700, CARD[:-5] + "00001")
    client.submit("receipt", "CO1-0", 250, "CNY", CARD)
    clock.advance(60)
    pay(client, "WD3-0", 900)
    content = get(bank, "/settlements/20260302T1200")[1]
    body, trailer = content[: content.index(b"#TRAILER")], content[content.index(b"#TRAILER") :]
    assert trailer.decode() == f"#TRAILER,2,750,{hashlib.sha256(body).hexdigest()}\n"
    rows = list(csv.DictReader(body.decode().splitlines()))
    assert sorted(row["request_no"] for row in rows) == ["CO1-0", "WD1-0"]


def test_an_accepted_request_is_in_the_file_a_failed_one_is_not(clock: ManualClock) -> None:
    def record(number: str, status: str) -> BankRecord:
        return BankRecord(number, "payout", status, None, 5, "CNY", CARD, clock(), None)

    content = settlement_file([record("A-0", "accepted"), record("B-0", "failed")])
    assert b"A-0," in content
    assert b"B-0," not in content


def test_a_damaged_file_no_longer_matches_its_trailer(
    bank: RunningBank, client: BankClient, clock: ManualClock
) -> None:
    pay(client)
    clock.advance(60)
    bank.faults.set({"kind": "wrong_amount", "operation": "settlement"})
    content = get(bank, "/settlements/20260302T1200")[1]
    body = content[: content.index(b"#TRAILER")]
    assert hashlib.sha256(body).hexdigest().encode() not in content


def test_a_day_may_be_as_long_as_a_real_one() -> None:
    calendar = BankCalendar(86_400)
    day = calendar.day_of(datetime(2026, 3, 2, 12))  # noqa: DTZ001 - naive UTC
    assert (day.name, calendar.next_day(day).name) == ("20260302", "20260303")
    assert calendar.named("20260302") == day


def test_records_are_loaded_as_they_stand_all_or_none(
    client: BankClient, clock: ManualClock, world: World
) -> None:
    record: dict[str, object] = {"request_no": "WD1-0", "kind": "payout", "status": "failed", "code": "E1001"}
    record |= {"amount_minor": 5, "currency": "CNY", "account": CARD, "accepted_at": iso(clock())}
    assert client.call("POST", "/records", {"records": [record]}) == {"loaded": 1}
    other = {**record, "request_no": "WD2-0"}
    with pytest.raises(BankError, match="409"):
        client.call("POST", "/records", {"records": [other, record]})
    assert world.payouts("WD2") == []
    assert [payout.code for payout in world.payouts("WD1")] == ["E1001"]


def test_a_stopped_bank_answers_no_more_even_on_an_old_connection(world: World) -> None:
    with world.bank() as running:
        client = BankClient(running.url, running.token)
        assert pay(client) == "success"
    with pytest.raises(BankUnreachableError):
        pay(client, "WD2-0")
    assert world.payouts("WD2") == []


# Notices


def test_a_payout_taken_in_is_announced_when_it_is_done(world: World, clock: ManualClock) -> None:
    production = world.production()
    case = world.load_case("S2")
    asked = Submission(f"{case.trade_no}-0", "payout", case.amount_minor, "CNY", CARD)
    world.books.submit(asked, Verdict("accepted", due_seconds=5, due_status=SUCCESS))
    clock.advance(5)
    assert world.books.complete_due() == 1
    with taking_notices([world.production("PBMS"), production]) as url:
        NoticeClerk(world.books, url, threading.Event()).announce(world.books.unannounced(10))
    assert world.requests(case.trade_no)[0]["STATUS"] == "success"
    assert world.books.unannounced(10) == []


def test_a_notice_nobody_takes_is_given_up_in_the_end(world: World, client: BankClient) -> None:
    with taking_notices([]) as address:
        pass
    world.books.submit(Submission("WD1-0", "payout", 5, "CNY", CARD), Verdict(SUCCESS))
    clerk = NoticeClerk(world.books, address, threading.Event())
    for _ in range(5):
        clerk.announce(world.books.unannounced(10) or [world.payouts("WD1")[0]])
    assert world.books.unannounced(10) == []
