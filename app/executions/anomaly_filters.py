"""What the filters of anomalies mean, as they stand in a URL: of their list, its CSV, and 异常处理."""

from collections.abc import Iterable
from typing import Final

from app.anomalies.models import ANOMALY_STATES
from app.anomalies.queries import AnomalyFilter, AnomalySort, Pairs
from app.anomalies.service import GroupIds
from app.anomalies.undebited import INSUFFICIENT, PAID_UNDEBITED
from app.filters import choice, read
from app.forms import Form
from app.keyset import ReadSession
from app.plans.models import LEVELS, MODES
from app.plans.queries import list_plans
from app.users.group_filter import read_group

FIRST_FILTERS: Final = ("trade_no", "group", "state", "fixer", "kind")
FURTHER_FILTERS: Final = (
    "cause",
    "outcome",
    "plan",
    "level",
    "amount_from",
    "amount_to",
    "start",
    "end",
    "run",
    "held",
)
FILTERS: Final = (*FIRST_FILTERS, *FURTHER_FILTERS)

PLAN_CHOICES: Final = ("none", *MODES, "shadow", "disabled")
"""无方案, then the plans in force by mode, then the plans that are 失效."""

HELD_CHOICES: Final = ("yes",)

CAUSES: Final = (
    "bank",
    "ledger",
    "mismatch",
    "more than one request number succeeded",
    "credited without bank money",
    "row says posted, ledger does not",
    "success without bank money",
    "failed but credited",
    "single-step posting is half present",
    "second segment without first",
    "processing, debited, bank failed",
    "settled in ledger, not at bank",
    "processing with a posted leg",
    "both legs on row, status or bank disagrees",
    "paid, ledger or row behind",
    "row behind ledger",
    "failed but bank paid",
    "debited, payout failed",
    INSUFFICIENT,
    PAID_UNDEBITED,
    "out_of_range",
    "meaningless",
    "malformed",
    "waited_too_long",
    "money_moved_too_long",
    "claim_refuted",
    "claim_unanswered",
    "money_found",
    "money_after_close",
    "money_during_repair",
    "crashed_too_often",
    "ended_alike_too_often",
)
"""The reasons offered as the filter ``cause``; any other may stand in the URL."""


def read_filter(session: ReadSession, form: Form, zone: str, group_ids: GroupIds) -> AnomalyFilter:
    """Return the filter. A wrong value is told at its field in ``form.errors`` and does not narrow.

    Times without an offset are of ``zone``; amounts are typed in yuan.
    """
    pairs, without_pairs = _by_plan(session, form)
    return AnomalyFilter(
        group_ids=read_group(session, form, group_ids),
        states=tuple(state for state in form.many("state") if choice(form, "state", state, ANOMALY_STATES)),
        fixer_code=form.text("fixer"),
        kind=choice(form, "kind", form.text("kind"), ("recharge", "withdraw")),
        reason=form.text("cause"),
        outcome=choice(form, "outcome", form.text("outcome"), ("repair", "wait", "human")),
        trade_no=form.text("trade_no"),
        amount_from=read(form, lambda: form.amount("amount_from")),
        amount_to=read(form, lambda: form.amount("amount_to")),
        seen_from=read(form, lambda: form.moment("start", zone)),
        seen_to=read(form, lambda: form.moment("end", zone)),
        is_held=choice(form, "held", form.text("held"), HELD_CHOICES) == "yes",
        run_id=read(form, lambda: form.number("run")),
        pairs=pairs,
        without_pairs=without_pairs,
    )


def read_sort(form: Form, default: AnomalySort) -> AnomalySort:
    """Return the sort of the URL, ``default`` where it names none. Raises InvalidError('sort') on use."""
    by = form.text("sort")
    return AnomalySort(by, form.text("by") != "asc") if by else default


def is_filtered(form: Form, names: Iterable[str] = FILTERS) -> bool:
    """Return whether any of the named filters is set."""
    return any(form.text(name) for name in names)


def _by_plan(session: ReadSession, form: Form) -> tuple[Pairs | None, Pairs | None]:
    """Return the (group, fixer) pairs wanted and those not wanted, None where plans do not matter."""
    plan = choice(form, "plan", form.text("plan"), PLAN_CHOICES)
    level = choice(form, "level", form.text("level"), [str(level) for level in LEVELS])
    if not plan and not level:
        return None, None
    wanted = list_plans(
        session,
        None,
        mode=plan if plan in MODES else "",
        # In shadow a plan goes neither by itself nor by a click.
        is_shadow=plan == "shadow" if plan in (*MODES, "shadow") else None,
        state={"": "", "none": "", "disabled": "disabled"}.get(plan, "normal"),
        level=int(level) if level and plan != "none" else None,
    )
    pairs = tuple((one.group_id, one.fixer_code) for one in wanted)
    return (None, pairs) if plan == "none" else (pairs, None)
