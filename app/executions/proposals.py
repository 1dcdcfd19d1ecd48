"""What a person is advised to do about a trade that no machine goes on with, and the evidence for it.

Pure: from the reason, the three facts and what is known of plan and repair to one proposal. The first rule
that speaks wins. It decides nothing: whatever a person then orders reads the facts afresh.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from agent.facts import BankState, Bookkeeping, Facts, Kind, LegFact, LegState
from agent.unpaid import NO_REQUEST, REVERSED_BEFORE, find_obstacle
from app.anomalies.undebited import INSUFFICIENT, PAID_UNDEBITED, is_paid_undebited

Action = Literal[
    "verifying",
    "second_person",
    "correct_row",
    "correct_and_verify",
    "make_plan",
    "enable_plan",
    "pay_or_reverse",
    "pay_again",
    "check_bank",
    "ask_bank",
    "verify",
    "retry",
    "raise_limit",
    "debit_or_recover",
    "close_outside",
    "recover",
    "ignore",
]
"""second_person: an order waits for its confirmation, and nothing else is done meanwhile.
再付 or 冲正 is one proposal: which of them is right, only the person knows. pay_again: there is no
冲正. check_bank: there is neither, and no verification changes that; the bank is asked by hand. raise_limit:
no click passes what the agent's own configuration lets it do at most.
debit_or_recover: the bank has paid and the balance does not cover the debit. recover: more than one number
succeeded, and the bank's records will say so for ever."""

LOST_REQUESTS: Final = (
    "the reply to the payout was lost, the bank does not de-duplicate",
    "the request may still reach the bank, which does not de-duplicate",
    "more than one bank request may be alive",
    "the bank knows the number, and production's table has lost it",
    "the bank knows the number that was to be new, and does not de-duplicate",
)
"""Money may be under way: the bank must say before anything is asked of it again."""
CHANGED: Final = (
    "row changed after money moved",
    "the row has changed since it was reported",
    "the row is no longer what was read",
    "the facts call for other steps",
    "another repair of this trade came between",
    "the bank no longer has the money where it had",
    "the amount is above what this attempt was judged by",
    "claim_refuted",
    "claim_unanswered",
    "money_after_close",
    "money_during_repair",
)
"""What was read does not hold any more, or someone may have been at work: it is read afresh first."""
ORDERED_BEFORE: Final = "people have ordered of this trade before"
"""Why a trade is with a person that its plan would have paid."""
UNPAID: Final = ("processing, debited, bank failed", "debited, payout failed", ORDERED_BEFORE)
AGENT_LIMITS: Final = (
    "over the agent's limit for a trade",
    "over the agent's limit for an hour",
    "over the agent's limit for a day",
)
ABSENT: Final = ("missing", "no row has this trade number")


CLICKS: Final[Mapping[Action, tuple[str, ...]]] = {
    "correct_and_verify": ("verify",),
    "verify": ("verify",),
    "retry": ("repair", "retry"),
    "check_bank": ("outside",),
    "close_outside": ("outside",),
}
"""What a person clicks to do as proposed, where it is one click; nobody is called on to ignore a trade."""


@dataclass(frozen=True)
class Doubt:
    """What is known of a trade that no machine goes on with.

    ``reason`` is the anomaly's, ``outcome`` its newest decision; ``facts`` None where none could be read.
    ``plan``: normal, shadow, disabled, none. ``is_with_person``: not merely without a plan in force.
    ``is_order_only``: nothing but an order of people may pay it. ``is_proposed``: such an order waits for its
    second person.
    """

    reason: str
    outcome: str
    facts: Facts | None
    plan: str
    is_with_person: bool = True
    has_own_number: bool = True
    is_verifying: bool = False
    has_fixer: bool = True
    is_order_only: bool = False
    is_proposed: bool = False


@dataclass(frozen=True)
class Evidence:
    """One fact that led to the proposal: a code of app.doubts.EVIDENCE, and what it is about."""

    code: str
    subject: str = ""


@dataclass(frozen=True)
class Proposal:
    """What to do, and why."""

    action: Action
    evidence: tuple[Evidence, ...]

    def calls_for(self, click: str) -> bool:
        """Return whether a click, named as in case_file.allowed_actions, is what is proposed."""
        return click in CLICKS.get(self.action, ())


def propose(doubt: Doubt) -> Proposal:
    """Return what a person is advised to do, with the facts that speak for it."""
    facts = doubt.facts
    action = (
        _before_any_fact(doubt)
        if facts is None
        else _without_plan(doubt) or _by_facts(doubt, facts) or _by_reason(doubt)
    )
    if doubt.is_proposed:
        action = "second_person"
    if doubt.is_verifying:
        action = "verifying"
    # A single-step posting is both legs: what holds of either is told once.
    return Proposal(action, () if facts is None else tuple(dict.fromkeys(_evidence(facts))))


def is_debited_unpaid(facts: Facts) -> bool:
    """Return whether a withdrawal's customer was debited and the bank has surely not paid."""
    if facts.kind is not Kind.WITHDRAW or facts.bank.state is not BankState.FAIL:
        return False
    is_debited = facts.first.state is LegState.POSTED
    second = facts.second.state if facts.second is not None else LegState.NONE
    if facts.bookkeeping is Bookkeeping.SINGLE_STEP:
        # One entry holds both legs: it says nothing of what the bank did.
        return is_debited and second is LegState.POSTED
    return is_debited and second is LegState.NONE


def _before_any_fact(doubt: Doubt) -> Action:
    if not doubt.has_own_number:
        return "correct_row"
    if head_of(doubt.reason) in ABSENT:
        return "ignore"
    return _without_plan(doubt) or ("verify" if doubt.has_fixer else "correct_and_verify")


def _without_plan(doubt: Doubt) -> Action | None:
    """What is not with a person stands here only for want of a plan in force."""
    if doubt.is_with_person:
        return None
    return "enable_plan" if doubt.plan == "disabled" else "make_plan"


def _by_facts(doubt: Doubt, facts: Facts) -> Action | None:
    reason = head_of(doubt.reason)
    if reason in ABSENT:
        return "ignore"
    if _is_paid_twice(facts):
        return "recover"
    if _is_mismatch(facts):
        return "close_outside"
    if reason in LOST_REQUESTS:
        return "ask_bank"
    if facts.bank.state is BankState.UNKNOWN:
        return "ask_bank"
    if reason in (INSUFFICIENT, PAID_UNDEBITED) and is_paid_undebited(facts):
        return "debit_or_recover"
    if LegState.UNKNOWN in _legs(facts):
        return "verify"
    if reason in AGENT_LIMITS:
        return "raise_limit"
    if reason == NO_REQUEST and not facts.bank.requests:
        return "check_bank"
    if reason in UNPAID and facts.bank.state is BankState.SUCCESS:
        return "verify"
    is_unpaid = is_debited_unpaid(facts) and (
        reason in UNPAID or doubt.outcome == "human" or doubt.is_order_only
    )
    return _of_unpaid(facts) if is_unpaid else None


def _of_unpaid(facts: Facts) -> Action:
    """What the trade's page offers too."""
    obstacle = find_obstacle(facts, "pay_again")
    if obstacle is not None:
        return "check_bank" if obstacle == NO_REQUEST else "close_outside"
    obstacle = find_obstacle(facts, "reverse")
    if obstacle == REVERSED_BEFORE:
        return "close_outside"
    return "pay_or_reverse" if obstacle is None else "pay_again"


def _by_reason(doubt: Doubt) -> Action:
    if head_of(doubt.reason) in CHANGED:
        return "verify"
    if doubt.outcome == "repair" and not doubt.is_order_only:
        return "retry" if doubt.plan == "normal" else "verify"
    return "verify" if doubt.outcome == "wait" else "close_outside"


def head_of(reason: str) -> str:
    """Return the stable word of a reason that goes on with a detail."""
    return reason.partition(": ")[0]


def _is_paid_twice(facts: Facts) -> bool:
    """Return whether the bank has moved the money under more than one number."""
    return len(facts.bank.paid_numbers) > 1


def _is_mismatch(facts: Facts) -> bool:
    return LegState.MISMATCH in _legs(facts) or facts.bank.state is BankState.MISMATCH


def _legs(facts: Facts) -> tuple[LegState, ...]:
    second = () if facts.second is None else (facts.second.state,)
    return (facts.first.state, *second)


def _evidence(facts: Facts) -> Iterator[Evidence]:
    """The facts that tell, what contradicts itself first."""
    if is_paid_undebited(facts):
        yield Evidence("never_debited")
    legs = [("1", facts.first, facts.is_acc)]
    if facts.second is not None:
        legs.append(("2", facts.second, bool(facts.is_e_acc)))
    for number, leg, is_on_row in legs:
        code = _leg_code(leg, is_on_row)
        if code:
            voucher_no = leg.voucher_no if leg.state is LegState.POSTED else None
            yield Evidence(code, voucher_no or number)
    if _is_paid_twice(facts):
        yield from (Evidence("bank_success", number) for number in facts.bank.paid_numbers)
        return
    yield from (Evidence("bank_line_lost", number) for number in facts.bank.known_without_line)
    telling = [one for one in facts.bank.requests if one.verdict is facts.bank.state] or facts.bank.requests
    if telling:
        is_never_found = facts.bank.state is BankState.FAIL and telling[-1].status != "failed"
        code = "bank_never_found" if is_never_found else f"bank_{facts.bank.state.lower()}"
        yield Evidence(code, telling[-1].request_no)
    else:
        yield Evidence("bank_never_asked")


def _leg_code(leg: LegFact, is_on_row: bool) -> str:
    if leg.state in (LegState.MISMATCH, LegState.UNKNOWN):
        return f"leg_{leg.state.lower()}"
    if leg.state is LegState.POSTED:
        return "leg_posted" if is_on_row else "leg_behind_row"
    return "row_ahead_of_leg" if is_on_row else ""
