"""What a person may order of a trade debited and unpaid, over every combination of facts of the table."""

import msgspec
import pytest

from agent.decision import INTER_WITHDRAW_ACC, WITHDRAW_FAILED, WITHDRAW_FAILED_ACC, decide
from agent.facts import BankFact, BankState, Facts, LegState, RequestFact
from agent.fixers import FIXERS
from agent.fixers.plan import PAYOUTS
from agent.unpaid import ACTIONS, Action, digest_of, find_obstacle, may_pay
from tests.agent.test_decision import TABLE, facts_of

REFUSED = RequestFact("WD1-0", 0, "failed", BankState.FAIL, code="E1001")
NEVER_FOUND = RequestFact("WD1-0", 0, "not_found", BankState.FAIL)
LEFT_TO_A_PERSON = {
    "processing, debited, bank failed",
    "processing with a posted leg",
    "both legs on row, status or bank disagrees",
    "settled in ledger, not at bank",
    "row behind ledger",
}
"""Why the table gives a debited and unpaid trade to a person."""
PAID_BY_PLAN = {INTER_WITHDRAW_ACC, WITHDRAW_FAILED, WITHDRAW_FAILED_ACC}
"""The fixers that pay on production's own debit; once they are exhausted a person may order too."""


def worlds(*requests: RequestFact) -> list[Facts]:
    """Every line of the table, its bank's word over these requests."""
    return [
        msgspec.structs.replace(facts, bank=BankFact(facts.bank.state, requests))
        for facts in map(facts_of, TABLE)
    ]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_is_offered_only_where_the_ledger_has_the_money_and_the_bank_has_refused(
    action: Action,
) -> None:
    offered = [facts for facts in worlds(REFUSED) if find_obstacle(facts, action) is None]
    assert offered
    for facts in offered:
        decision = decide(facts)
        assert decision.outcome in ("human", "repair")
        assert decision.reason in LEFT_TO_A_PERSON or decision.fixer_code in PAID_BY_PLAN
        assert (facts.first.state, facts.bank.state) == (LegState.POSTED, BankState.FAIL)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_trade_that_is_debited_and_unpaid_for_a_person_is_offered(action: Action) -> None:
    for facts in worlds(REFUSED):
        decision = decide(facts)
        is_unpaid = facts.bank.state is BankState.FAIL and facts.first.state is LegState.POSTED
        if is_unpaid and decision.reason in LEFT_TO_A_PERSON:
            assert find_obstacle(facts, action) is None, decision


def test_what_was_only_never_found_may_be_asked_again_but_not_reversed() -> None:
    paid_again = [facts for facts in worlds(NEVER_FOUND) if find_obstacle(facts, "pay_again") is None]
    assert len(paid_again) == sum(find_obstacle(facts, "pay_again") is None for facts in worlds(REFUSED))
    assert {find_obstacle(facts, "reverse") for facts in paid_again} == {
        "a request the bank has not refused may still be paid"
    }


@pytest.mark.parametrize("action", ACTIONS)
def test_a_trade_whose_numbers_nobody_holds_is_offered_nothing(action: Action) -> None:
    assert all(find_obstacle(facts, action) is not None for facts in worlds())


@pytest.mark.parametrize("action", ACTIONS)
def test_doubt_is_waited_for(action: Action) -> None:
    doubtful = next(facts for facts in worlds(REFUSED) if find_obstacle(facts, action) is None)
    bank = msgspec.structs.replace(doubtful, bank=BankFact(BankState.UNKNOWN, (REFUSED,)))
    unread = msgspec.structs.replace(doubtful.first, state=LegState.UNKNOWN)
    assert find_obstacle(bank, action) == "bank"
    assert find_obstacle(msgspec.structs.replace(doubtful, first=unread), action) == "ledger"


def test_the_digest_does_not_depend_on_when_or_how_the_facts_were_learned() -> None:
    facts = worlds(REFUSED)[-1]
    later = msgspec.structs.replace(REFUSED, evidence="settlement", completed_at="2026-03-02T04:00:00Z")
    again = msgspec.structs.replace(
        facts, read_at="later", bank=BankFact(facts.bank.state, (later,), detail="said otherwise")
    )
    assert digest_of(again) == digest_of(facts)
    assert digest_of(msgspec.convert(msgspec.to_builtins(facts), Facts)) == digest_of(facts)


def test_the_digest_changes_with_whatever_an_order_stands_on() -> None:
    facts = worlds(REFUSED)[-1]
    opened = RequestFact("WD1-P1", 1, "failed", BankState.FAIL)
    others = [
        msgspec.structs.replace(facts, row_hash="another"),
        msgspec.structs.replace(facts, amount_minor=1),
        msgspec.structs.replace(facts, first=msgspec.structs.replace(facts.first, voucher_no="GA1")),
        msgspec.structs.replace(facts, bank=BankFact(facts.bank.state, (REFUSED, opened))),
        msgspec.structs.replace(facts, bank=BankFact(facts.bank.state, (NEVER_FOUND,))),
    ]
    assert len({digest_of(each) for each in [facts, *others]}) == 6


def test_no_fixer_asks_the_bank_to_pay_where_none_may() -> None:
    repaired = [(facts, decide(facts).fixer_code) for facts in worlds(REFUSED)]
    paid = [(facts, code) for facts, code in repaired if code and {*FIXERS[code].steps(facts)} & {*PAYOUTS}]
    assert {code for _facts, code in paid} >= PAID_BY_PLAN
    assert [code for facts, code in paid if not may_pay(code, facts)] == []
    assert may_pay(INTER_WITHDRAW_ACC, None)
