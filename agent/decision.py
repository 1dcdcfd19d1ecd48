"""From facts to one outcome: a trade is repaired, left alone, waited for, or given to a person, by rules.

Pure. Collectors and fixers ask the same function; tests/agent/decision_table.jsonl lists every combination.
"""

from typing import Final, Literal

import msgspec

from agent.facts import BankState, Bookkeeping, Facts, Kind, Leg, LegState, Row, Status

DecisionOutcome = Literal["repair", "consistent", "wait", "human"]

INTER_RECHARGE: Final = "interRechargeFixServiceImpl"
INTER_WITHDRAW: Final = "interWithdrawFixServiceImpl"
INTER_WITHDRAW_ACC: Final = "interWithdrawAccFixServiceImpl"
RECHARGE_FAILED: Final = "rechargeFailedFixServiceImpl"
RECHARGE_TIMEOUT: Final = "rechargeTimeoutFixServiceImpl"
WITHDRAW_FAILED: Final = "withdrawFailedFixServiceImpl"
WITHDRAW_FAILED_ACC: Final = "withdrawFailedAccFixServiceImpl"
WITHDRAW_TIMEOUT: Final = "withdrawTimeoutFixServiceImpl"

REPAIRED_MESSAGE: Final = {Kind.RECHARGE: "充值成功修复", Kind.WITHDRAW: "提现成功修复"}
"""FAILED_MSG after a repair, literal, on confirmed-failed rows too (docs: product document)."""
REVERSED_MESSAGE: Final = "提现已冲正"
"""FAILED_MSG after a reversal: the money went back to the customer."""


LEG_CELLS: Final = {Leg.FIRST: "ACC_TRD", Leg.SECOND: "E_ACC_TRD"}
"""How the two cells of a leg begin."""


class RowCodes(msgspec.Struct, frozen=True, kw_only=True):
    """The codes production writes for what a repair writes: TRD_STATUS and the two leg statuses."""

    success: int | str = 8
    failed: int | str = 9
    booked: int | str = 1
    not_booked: int | str = 0


class Decision(msgspec.Struct, frozen=True):
    """One outcome; ``fixer_code`` and ``target`` (the status the row shall have) belong to a repair."""

    outcome: DecisionOutcome
    reason: str = ""
    fixer_code: str | None = None
    target: Status | None = None


CONSISTENT: Final = Decision("consistent")


def decide(facts: Facts) -> Decision:
    """Return what is to be done about a trade; the first rule that speaks wins."""
    return _unclear(facts) or (
        _decide_recharge(facts) if facts.kind is Kind.RECHARGE else _decide_withdrawal(facts)
    )


def predict(facts: Facts, row: Row, codes: RowCodes | None = None) -> Row | None:
    """Return the row a repair would leave, or None where the decision is not a repair.

    Voucher numbers that the ledger has yet to allocate are null.
    """
    decision = decide(facts)
    if decision.target is None:
        return None
    second = facts.second.voucher_no if facts.second else None
    return corrected_row(row, facts.kind, decision.target, (facts.first.voucher_no, second), codes)


def corrected_row(
    row: Row,
    kind: Kind,
    target: Status,
    vouchers: tuple[str | None, str | None],
    codes: RowCodes | None = None,
) -> Row:
    """Return ``row`` as a repair to ``target`` writes it; a row confirmed failed keeps its leg cells."""
    codes = codes or RowCodes()
    after = {**row, "FAILED_MSG": REPAIRED_MESSAGE[kind]}
    if target is Status.FAILED:
        return {**after, "TRD_STATUS": codes.failed}
    after |= {"TRD_STATUS": codes.success, "ACC_TRD_NUM": vouchers[0], "ACC_TRD_STATUS": codes.booked}
    if kind is Kind.WITHDRAW:
        after |= {"E_ACC_TRD_NUM": vouchers[1], "E_ACC_TRD_STATUS": codes.booked}
    return after


def reversed_row(row: Row, codes: RowCodes | None = None) -> Row:
    """Return ``row`` as a reversal writes it: confirmed failed, and nothing on the legs that it claimed."""
    codes = codes or RowCodes()
    after = {**row, "FAILED_MSG": REVERSED_MESSAGE, "TRD_STATUS": codes.failed}
    for leg in legs_claimed(row, codes):
        after |= {f"{LEG_CELLS[leg]}_NUM": None, f"{LEG_CELLS[leg]}_STATUS": codes.not_booked}
    return after


def legs_claimed(row: Row, codes: RowCodes) -> tuple[Leg, ...]:
    """Return the legs of which a row says anything: a number, or that they are booked."""
    return tuple(
        leg
        for leg, cells in LEG_CELLS.items()
        if row[f"{cells}_NUM"] is not None or row[f"{cells}_STATUS"] == codes.booked
    )


def _unclear(facts: Facts) -> Decision | None:
    """What contradicts itself is for a person; what is not known yet is waited for."""
    legs = (facts.first.state, facts.second.state if facts.second else LegState.NONE)
    if len(facts.bank.paid_numbers) > 1:
        return _human("more than one request number succeeded")
    if LegState.MISMATCH in legs or facts.bank.state is BankState.MISMATCH:
        return _human("mismatch")
    if LegState.UNKNOWN in legs:
        return Decision("wait", "ledger")
    if facts.bank.state is BankState.UNKNOWN:
        return Decision("wait", "bank")
    return None


def _decide_recharge(facts: Facts) -> Decision:
    is_credited = facts.first.state is LegState.POSTED
    if facts.is_acc and not is_credited:
        return _human("row says posted, ledger does not")
    if facts.bank.state is BankState.SUCCESS:
        return _decide_received(facts)
    if is_credited:
        return _human("credited without bank money")
    if facts.status is Status.PROCESSING:
        return _repair(RECHARGE_TIMEOUT, Status.FAILED)
    if facts.status is Status.SUCCESS:
        return _human("success without bank money")
    return CONSISTENT


def _decide_received(facts: Facts) -> Decision:
    """The bank has the customer's money and the row claims nothing that the ledger lacks."""
    if facts.status is Status.PROCESSING:
        return _repair(RECHARGE_TIMEOUT, Status.SUCCESS)
    if facts.status is Status.SUCCESS:
        return CONSISTENT if facts.is_acc else _repair(INTER_RECHARGE, Status.SUCCESS)
    return _human("failed but credited") if facts.is_acc else _repair(RECHARGE_FAILED, Status.SUCCESS)


def _decide_withdrawal(facts: Facts) -> Decision:
    contradiction = _row_or_ledger_contradicts_itself(facts)
    if contradiction:
        return contradiction
    if facts.is_acc and facts.is_e_acc:
        return _decide_both_legs_on_row(facts)
    if facts.bank.state is BankState.SUCCESS:
        return _decide_paid(facts)
    return _decide_unpaid(facts)


def _row_or_ledger_contradicts_itself(facts: Facts) -> Decision | None:
    first, second = _posted_legs(facts)
    if (facts.is_acc and not first) or (facts.is_e_acc and not (second and facts.is_acc)):
        return _human("row says posted, ledger does not")
    if facts.bookkeeping is Bookkeeping.SINGLE_STEP:
        return _human("single-step posting is half present") if first != second else None
    if second and not first:
        return _human("second segment without first")
    if second and facts.bank.state is BankState.FAIL:
        return _human("settled in ledger, not at bank")
    return None


def _decide_both_legs_on_row(facts: Facts) -> Decision:
    """Row and ledger agree that the withdrawal is settled."""
    if facts.bank.state is BankState.SUCCESS and facts.status is Status.SUCCESS:
        return CONSISTENT
    if facts.bank.state is BankState.SUCCESS and facts.status is Status.PROCESSING:
        return _repair(WITHDRAW_TIMEOUT, Status.SUCCESS)
    return _human("both legs on row, status or bank disagrees")


def _decide_paid(facts: Facts) -> Decision:
    """The bank has paid; at most the first leg stands on the row."""
    if facts.status is Status.SUCCESS:
        return _human("paid, ledger or row behind")
    if facts.status is Status.FAILED:
        return _human("failed but bank paid")
    if facts.is_acc and not _is_half_posted(facts):
        return _human("processing with a posted leg")
    return _repair(WITHDRAW_TIMEOUT, Status.SUCCESS)


def _decide_unpaid(facts: Facts) -> Decision:
    """The bank has certainly not paid; at most the first leg stands on the row."""
    is_debited, _ = _posted_legs(facts)
    if facts.status is Status.PROCESSING:
        if facts.is_acc:
            return _human("processing with a posted leg")
        if is_debited:
            return _human("processing, debited, bank failed")
        return _repair(WITHDRAW_TIMEOUT, Status.FAILED)
    if not is_debited:
        # A failed withdrawal with nothing in the ledger is simply a failed withdrawal: it is never paid.
        return CONSISTENT if facts.status is Status.FAILED else _repair(INTER_WITHDRAW, Status.SUCCESS)
    if facts.is_acc and _is_half_posted(facts):
        is_failed = facts.status is Status.FAILED
        return _repair(WITHDRAW_FAILED_ACC if is_failed else INTER_WITHDRAW_ACC, Status.SUCCESS)
    if facts.status is Status.FAILED and not facts.is_acc and not _is_half_posted(facts):
        return _repair(WITHDRAW_FAILED, Status.SUCCESS)
    return _human("row behind ledger")


def _posted_legs(facts: Facts) -> tuple[bool, bool]:
    second = facts.second is not None and facts.second.state is LegState.POSTED
    return facts.first.state is LegState.POSTED, second


def _is_half_posted(facts: Facts) -> bool:
    """Debited, not settled: only a two-step withdrawal reaches this."""
    return _posted_legs(facts) == (True, False)


def _repair(fixer_code: str, target: Status) -> Decision:
    return Decision("repair", "", fixer_code, target)


def _human(reason: str) -> Decision:
    return Decision("human", reason)
