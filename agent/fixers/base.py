"""Repairing one trade, and looking at one without touching it.

Read, decide, claim, post, pay, write, read back; a repair that has begun to move money is gone on with, never
begun again. Nothing a production system does raises here: it ends the attempt with an outcome.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from agent.decision import Decision, corrected_row, decide, predict, reversed_row
from agent.errors import AgentError, FencedError, PortError, StoodStillError
from agent.facts import Facts, Status
from agent.fixers import FIXERS, Fixer
from agent.fixers.attempt import DONE, STOOD_STILL, Attempt, AttemptEnded
from agent.fixers.claiming import claim, claim_of
from agent.fixers.half_done import find_own_failure, has_debited_before, is_half_done, judge_half_done
from agent.fixers.limits import require_allowed, require_as_judged, require_offered, require_room
from agent.fixers.lost_lines import (
    LINE_LOST,
    choose_payable,
    find_lost_line,
    is_failure_told,
    require_no_lost_line,
)
from agent.fixers.nonsense import find_nonsense, repeated_number
from agent.fixers.order import FactsReport, RepairOrder, RepairReport, RepairSettings, VerifyOutcome
from agent.fixers.ordering import begin_ordered
from agent.fixers.plan import PAY, is_reversal
from agent.fixers.reading import (
    IN_FLIGHT,
    TOO_OLD,
    find_the_row,
    is_in_flight,
    is_too_old,
    read_facts,
)
from agent.fixers.resuming import resume
from agent.fixers.reversing import REVERSALS
from agent.fixers.steps import STEPS
from agent.fixers.unmoved import require_as_reported, target_of
from agent.ports import Cancellation, Ports, StepLog
from agent.records import RepairRow, Trade
from agent.unpaid import find_obstacle

__all__ = [
    "FIXERS",
    "FactsReport",
    "RepairOrder",
    "RepairReport",
    "RepairSettings",
    "read_facts",
    "repair",
    "verify",
]


ALL_STEPS: Final = {**STEPS, **REVERSALS}


def repair(
    order: RepairOrder,
    ports: Ports,
    settings: RepairSettings,
    log: StepLog,
    cancellation: Cancellation,
    fixers: Mapping[str, Fixer] = FIXERS,
) -> RepairReport:
    """Carry out one attempt and report how it ended.

    What ``log`` raises passes through: the repair then stands as it is and can be resumed.
    """
    attempt = Attempt(order, ports, settings, log, cancellation)
    try:
        standing = ports.trades.find_repair(order.trade_no)
        attempt.has_debited_before = standing is not None and has_debited_before(standing, order)
        half_done = standing if standing is not None and is_half_done(standing) else None
        if half_done is not None:
            attempt.wait_while_stopped(half_done)
        elif standing is not None and (ended := find_own_failure(standing, order)) is not None:
            attempt.recall(standing)
            raise ended
        if order.action is not None:
            begin_ordered(attempt, order.action, standing, fixers)
        elif half_done is not None:
            resume(attempt, half_done, fixers)
        else:
            _begin(attempt, standing, fixers)
        _go_through(attempt)
    except (AttemptEnded, FencedError, StoodStillError, PortError) as error:
        return _report_end(attempt, error)
    return attempt.report("repaired", "")


def _report_end(attempt: Attempt, error: AgentError) -> RepairReport:
    """Report how an attempt ended that did not repair.

    One that began something and could not be closed is not told as ended: whoever comes next goes on with it.
    """
    if isinstance(error, AttemptEnded) and error.is_void:
        try:
            attempt.close_void()
        except (FencedError, PortError) as unclosed:
            error = unclosed
    match error:
        case AttemptEnded():
            return attempt.report(error.outcome, error.reason)
        case FencedError():
            return attempt.report("refused", "fenced")
        case StoodStillError():
            return attempt.report("unknown", STOOD_STILL)
        case _:
            return attempt.report("unknown", str(error))


def _go_through(attempt: Attempt) -> None:
    """Take the steps of the plan that are not done. Raises AttemptEnded, FencedError, PortError."""
    try:
        for name in attempt.held.plan:
            ALL_STEPS[name](attempt)
    except StoodStillError as error:
        attempt.write_down()
        raise AttemptEnded("unknown", STOOD_STILL) from error
    except AttemptEnded:
        attempt.write_down()
        raise


# ---- a repair from its beginning


def _begin(attempt: Attempt, standing: RepairRow | None, fixers: Mapping[str, Fixer]) -> None:
    """Read, decide and claim. Raises AttemptEnded unless the order still holds."""
    order, ports, settings = attempt.order, attempt.ports, attempt.settings
    attempt.stop_if_cancelled()
    fixer = require_offered(fixers, order.fixer_code)
    trade = find_the_row(order.trade_no, ports)
    attempt.see(trade)
    nonsense = find_nonsense(trade, settings)
    if nonsense:
        raise AttemptEnded("needs_human", nonsense)
    require_as_reported(attempt, trade)
    require_as_judged(attempt, trade)
    facts = read_facts(trade, ports)
    attempt.know(facts)
    decision = fixer.diagnose(facts)
    if decision.outcome == "consistent" and is_failure_told(decision, facts):
        require_no_lost_line(attempt)
    target = target_of(decision, order.fixer_code)
    require_allowed(attempt, trade)
    plan = fixer.steps(facts)
    if PAY in plan:
        choose_payable(trade, facts, ports)
    if target is Status.FAILED:
        require_no_lost_line(attempt)
    attempt.stop_if_cancelled()
    claim(attempt, claim_of(attempt, trade, plan, target), standing)
    require_room(attempt, trade)


# ---- looking only


def verify(
    trade_no: str, ports: Ports, settings: RepairSettings, fixers: Mapping[str, Fixer] = FIXERS
) -> FactsReport:
    """Read a trade's facts and say what they call for, by which steps; nothing is written."""
    try:
        return _look(trade_no, ports, settings, fixers)
    except PortError as error:
        return FactsReport(outcome="error", reason=str(error))


def _look(trade_no: str, ports: Ports, settings: RepairSettings, fixers: Mapping[str, Fixer]) -> FactsReport:
    standing = ports.trades.find_repair(trade_no)
    rows = ports.trades.find(trade_no)
    if not rows:
        return FactsReport(outcome="missing", reason="no row has this trade number")
    trade = rows[0]
    if len(rows) > 1:
        nonsense: str | None = repeated_number(row.trade_id for row in rows)
    else:
        nonsense = find_nonsense(trade, settings)
    seen = FactsReport(outcome="human", reason=nonsense or "", row=trade.row, row_hash=trade.row_hash)
    if nonsense:
        return seen
    in_flight = msgspec.structs.replace(seen, outcome="wait", reason=IN_FLIGHT)
    is_fresh = not (standing and is_half_done(standing)) and is_in_flight(trade, settings)
    if is_fresh and not (standing and standing.state == DONE):
        return in_flight
    facts = read_facts(trade, ports)
    if is_fresh and not _is_as_left(standing, trade, facts, settings):
        return in_flight
    seen = msgspec.structs.replace(seen, facts=facts)
    if standing and is_half_done(standing):
        outcome, reason = judge_half_done(standing, facts)
        reason = _why(outcome, reason, trade, facts, ports)
        return msgspec.structs.replace(seen, outcome=outcome, reason=reason, fixer_code=standing.fixer_code)
    decision = decide(facts)
    steps = _steps_of(decision.fixer_code, facts, fixers)
    obstacle, why = _find_obstacle(trade, facts, decision, steps, ports)
    if obstacle == "human":
        return msgspec.structs.replace(seen, outcome=obstacle, reason=why)
    seen = msgspec.structs.replace(
        seen,
        outcome=decision.outcome,
        reason=_why(decision.outcome, decision.reason, trade, facts, ports),
        fixer_code=decision.fixer_code,
        after=predict(facts, trade.row, settings.codes),
        steps=steps,
    )
    if decision.outcome == "repair" and is_too_old(trade, settings):
        return msgspec.structs.replace(seen, outcome="human", reason=f"{TOO_OLD}{settings.max_age.days}")
    if obstacle is not None:
        # An attempt would only wait: nothing is to be begun.
        return msgspec.structs.replace(seen, outcome=obstacle, reason=why, after=None, steps=())
    return seen


def _find_obstacle(
    trade: Trade, facts: Facts, decision: Decision, steps: Sequence[str], ports: Ports
) -> tuple[Literal["human", "wait"] | None, str]:
    """What would keep an attempt at these steps from beginning, though the facts call for a repair; or a
    failed trade from being whole, though they agree.
    """
    lost = find_lost_line(trade, facts, ports) if is_failure_told(decision, facts) else None
    if lost is not None:
        return "human" if lost == LINE_LOST else "wait", lost
    if PAY in steps:
        try:
            choose_payable(trade, facts, ports)
        except AttemptEnded as ended:
            return "wait" if ended.outcome == "wait" else "human", ended.reason
    return None, ""


def _why(outcome: VerifyOutcome, reason: str, trade: Trade, facts: Facts, ports: Ports) -> str:
    """The reason told: a lost line, where people would otherwise order of the trade as unpaid."""
    may_order = outcome == "human" and find_obstacle(facts, "pay_again") is None
    return LINE_LOST if may_order and find_lost_line(trade, facts, ports) == LINE_LOST else reason


def _is_as_left(standing: RepairRow | None, trade: Trade, facts: Facts, settings: RepairSettings) -> bool:
    """Whether a finished repair of ours made the row's last change, and all still agrees with it.

    Then nobody is at work on the row, however lately it was written.
    """
    if standing is None or decide(facts).outcome != "consistent":
        return False
    if is_reversal(standing.plan):
        return trade.row == reversed_row(standing.before, settings.codes)
    vouchers = (facts.first.voucher_no, facts.second.voucher_no if facts.second else None)
    left = corrected_row(standing.before, facts.kind, standing.target, vouchers, settings.codes)
    return trade.row == left


def _steps_of(fixer_code: str | None, facts: Facts, fixers: Mapping[str, Fixer]) -> tuple[str, ...]:
    """The steps a repair of these facts would take; none where none is called for or nobody offers it."""
    fixer = fixers.get(fixer_code or "")
    return fixer.steps(facts) if fixer is not None else ()
