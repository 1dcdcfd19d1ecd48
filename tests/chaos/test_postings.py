"""A posting that doubt should have held back is found at the ledger, though all may look well in the end."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from agent import decision
from agent.decision import Decision
from agent.facts import BankState, Facts
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
        ("S8", 8, "though the bank had told"),
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
