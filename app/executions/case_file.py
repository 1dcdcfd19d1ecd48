"""One anomaly as its page shows it: evidence, prediction, plan, history, and what a person may do with it."""

from dataclasses import dataclass
from typing import Any, Final

from agent.facts import ROW_COLUMNS
from app.agents import commands
from app.agents.models import Command
from app.anomalies.claims import last_claims
from app.anomalies.models import OPEN_STATES, Anomaly, AnomalyEvent, OutsideClaim
from app.anomalies.queries import list_of_trade
from app.anomalies.service import GroupIds
from app.executions.attempts import find_running
from app.executions.models import Attempt, Execution
from app.executions.order_guard import ORDER_STANDS, find_hold
from app.executions.queries import anomaly_detail
from app.executions.service import CLICKABLE_STATES, RETRYABLE_STATES, has_begun_money, refusal
from app.keyset import ReadSession
from app.plans.models import Plan

VOUCHER_OF: Final = {"ACC_TRD_STATUS": "ACC_TRD_NUM", "E_ACC_TRD_STATUS": "E_ACC_TRD_NUM"}
"""Which cell holds the voucher number of a leg that is booked."""


@dataclass(frozen=True)
class CaseFile:
    """What is known of an anomaly.

    ``refusal`` is the code why no click repairs it now, None where one does; ``hold`` the code why only an
    order of people moves it (app.executions.order_guard). ``command`` is the trade's live
    command, ``attempt`` the attempt under way, ``has_begun_money`` whether that is past cancelling.
    ``older_events``: the id below which its history goes on, None where it ends here. ``actions``: of repair,
    retry, verify, outside (healed outside), ignore, cancel, those its state allows. ``claim`` is the newest
    word that it was healed outside. ``others``: further anomalies of the same trade. ``attempts`` are found
    by the command that events name.
    """

    anomaly: Anomaly
    events: list[AnomalyEvent]
    older_events: int | None
    plan: Plan | None
    execution: Execution | None
    attempts: dict[str, Attempt]
    command: Command | None
    attempt: Attempt | None
    has_begun_money: bool
    refusal: str | None
    hold: str | None
    actions: tuple[str, ...]
    claim: OutsideClaim | None
    others: list[Anomaly]


def read_case(
    session: ReadSession, anomaly_id: int, group_ids: GroupIds, *, events_below: int | None = None
) -> CaseFile:
    """Return what is known of an anomaly. Raises NotFoundError('anomaly')."""
    detail = anomaly_detail(session, anomaly_id, group_ids, events_below=events_below)
    anomaly = detail.anomaly
    running = find_running(session, anomaly.id)
    command = commands.find_live(session, anomaly.group_id, anomaly.trade_no)
    has_begun = (
        running is not None and command is not None and has_begun_money(session, running, anomaly, command)
    )
    is_cancellable = (
        running is not None and command is not None and not has_begun and command.cancel_requested_at is None
    )
    hold = find_hold(session, anomaly) if anomaly.state in OPEN_STATES else None
    return CaseFile(
        anomaly=anomaly,
        events=detail.events,
        older_events=detail.older_events,
        plan=detail.plan,
        execution=detail.execution,
        attempts=detail.attempts,
        command=command,
        attempt=running,
        has_begun_money=has_begun,
        refusal=_refusal(anomaly, detail.plan),
        hold=hold,
        actions=allowed_actions(anomaly, detail.plan, is_cancellable=is_cancellable, hold=hold),
        claim=last_claims(session, [anomaly.id]).get(anomaly.id),
        others=[
            one for one in list_of_trade(session, anomaly.group_id, anomaly.trade_no) if one.id != anomaly.id
        ],
    )


def allowed_actions(
    anomaly: Anomaly, plan: Plan | None, *, is_cancellable: bool = False, hold: str | None = None
) -> tuple[str, ...]:
    """Return what a person may do with an anomaly in its state, the first being what it asks for most.

    ``hold``: the code why only an order of people moves it (app.executions.order_guard), None where not so.
    """
    if anomaly.state not in OPEN_STATES:
        return ()
    if anomaly.state == "repairing":
        return ("cancel",) if is_cancellable else ()
    attempt = "repair" if anomaly.state in ("open", "waiting") else "retry"
    is_refused = hold is not None or _refusal(anomaly, plan, RETRYABLE_STATES) is not None
    attempts = () if is_refused else (attempt,)
    # While an order stands nobody closes its trade (app.executions.ignoring).
    ignore = () if hold == ORDER_STANDS else ("ignore",)
    if not anomaly.has_own_number:
        # No agent can be asked about a row without a usable number.
        return ignore
    if anomaly.state == "needs_human":
        # What a person has looked into is read afresh before anything is attempted again.
        return ("verify", *attempts, "outside", *ignore)
    is_under_way = anomaly.has_moved_money and anomaly.state in ("open", "waiting")
    return (*attempts, "verify", "outside", *(() if is_under_way else ignore))


def predicted_row(anomaly: Anomaly, to_come: str) -> dict[str, Any] | None:
    """Return the row a repair would leave, None where none is foreseen.

    A voucher number that the ledger has yet to allocate reads ``to_come``.
    """
    if anomaly.after is None or anomaly.state not in OPEN_STATES:
        return None
    after = dict(anomaly.after)
    for status, number in VOUCHER_OF.items():
        if after.get(status) != anomaly.row.get(status) and after.get(number) is None:
            after[number] = to_come
    return after


def select_statement(anomaly: Anomaly) -> str:
    """Return the SELECT of the product document for an anomaly's trade; by its id where it has no number."""
    number = anomaly.trade_no.replace("'", "''")
    where = f"TRD_NUM='{number}'" if anomaly.has_own_number else f"TRD_ID={anomaly.trade_id}"
    return f"SELECT {','.join(ROW_COLUMNS)} FROM {anomaly.group.trade_table} WHERE {where};"


def _refusal(anomaly: Anomaly, plan: Plan | None, allowed: tuple[str, ...] = CLICKABLE_STATES) -> str | None:
    return refusal(anomaly.state, anomaly.fixer_code, plan, anomaly.group.is_enabled, allowed)
