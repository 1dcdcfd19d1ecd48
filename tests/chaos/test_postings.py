"""What doubt should have held back is found at the ledger: a posting, or an entry taken back."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from agent import decision
from agent.decision import Decision
from agent.facts import BankState, Facts
from agent.fixers import reversing
from agent.fixers.attempt import Attempt
from chaos.simulation.bank import PAYOUTS, BankLine
from chaos.simulation.draws import Draw
from chaos.simulation.schedule import Schedule
from chaos.simulation.workshop import Workshop

DOUBTFUL = Draw(cases=(), bank_rate=4.0, is_collected=True)
"""Nearly every second look at the bank ends in doubt."""


def violations_of(workshop: Workshop, case_id: str, seed: int) -> list[tuple[str, str]]:
    schedule = Schedule(workshop, seed, replace(DOUBTFUL, cases=(case_id,)))
    with schedule.running():
        return schedule.outcome().violations


def take_doubt_for_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the decision take a bank that cannot say for one that has said success."""

    def unclear(
        facts: Facts, as_it_is: Callable[[Facts], Decision | None] = decision._unclear
    ) -> Decision | None:
        return None if facts.bank.state is BankState.UNKNOWN else as_it_is(facts)

    def certain(decide: Callable[[Facts], Decision]) -> Callable[[Facts], Decision]:
        def decided(facts: Facts) -> Decision:
            if facts.bank.state is BankState.UNKNOWN:
                bank = msgspec.structs.replace(facts.bank, state=BankState.SUCCESS)
                facts = msgspec.structs.replace(facts, bank=bank)
            return decide(facts)

        return decided

    monkeypatch.setattr(decision, "_unclear", unclear)
    for name in ("_decide_recharge", "_decide_withdrawal"):
        monkeypatch.setattr(decision, name, certain(getattr(decision, name)))


@pytest.mark.parametrize(
    ("case_id", "seed", "why"),
    [
        ("S1", 1, "though the bank had told"),
        ("S4", 8, "though the bank had told"),
        ("S5", 1, "though the bank had told"),
        ("S6", 1, "though the bank has not moved the money"),
        ("S6", 8, "though the bank has not moved the money"),
        ("S8", 1, "though the bank had told"),
        ("S9", 4, "though the bank has not paid"),
        ("S9", 9, "was written a success"),
    ],
)
def test_a_posting_made_in_doubt_is_found(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, case_id: str, seed: int, why: str
) -> None:
    assert violations_of(workshop, case_id, seed) == []
    take_doubt_for_success(monkeypatch)
    assert any(name == "I9" and why in text for name, text in violations_of(workshop, case_id, seed))


UNPAID = Draw(
    cases=("S2",),
    is_collected=True,
    is_unpaid=True,
    rough_seconds=150.0,
    troubles=("reversed",),
    bank_rate=0.2,
)
"""The bank refuses the payout for good, and people have the debit taken back."""


def lose_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the bank not answer when it is asked just before an entry is taken back."""
    looking: list[str] = []

    def look_again(attempt: Attempt, as_it_is: Callable[[Attempt], None] = reversing._look_again) -> None:
        looking.append(attempt.order.trade_no)
        try:
            as_it_is(attempt)
        finally:
            looking.clear()

    def lose(line: BankLine, url: str) -> str:
        return "lost before" if looking and url != PAYOUTS else ""

    monkeypatch.setattr(reversing, "_look_again", look_again)
    monkeypatch.setattr(BankLine, "_fault", lose)


def test_an_entry_taken_back_in_doubt_is_found(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_the_last_look(monkeypatch)
    assert given_back(workshop) == (0, [])
    monkeypatch.setattr(reversing, "_require_unpaid", lambda attempt: None)
    times, found = given_back(workshop)
    assert times == 1
    assert [(name, "though the bank had told" in text) for name, text in found] == [("I9", True)]


def given_back(workshop: Workshop) -> tuple[int, list[tuple[str, str]]]:
    """How many entries were taken back in a schedule of an unpaid trade, and what it violates."""
    schedule = Schedule(workshop, 1, UNPAID)
    with schedule.running():
        [loaded] = schedule.loaded
        entries = schedule.world.entries(loaded.trade_no)
        return sum(bool(each["REVERSES"]) for each in entries), schedule.outcome().violations
