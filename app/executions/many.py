"""Verifying or ignoring many anomalies that a person has ticked: each as if it were the only one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import select

from app.anomalies import service
from app.anomalies.models import Anomaly
from app.anomalies.service import GroupIds
from app.audit.reasons import required_reason
from app.errors import ConflictError, NotFoundError
from app.executions import ignoring, shown
from app.executions.starting import Order
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

BATCH: Final = 100
"""So many go into one unit of work: other writers wait no longer than that takes."""
ManyAction = Literal["verify", "ignore"]


@dataclass(frozen=True)
class Done:
    """How many were done, and how many left out by the code of why."""

    done: int
    skipped: Mapping[str, int]


@dataclass(frozen=True)
class Selected:
    """What is ticked: the amounts of what is acted on, in minor units by currency, and how many would be left
    out, by the code of why; of those left to be verified none is foreseen. ``shown``: the digest of each
    (shown.digest_of), by anomaly id."""

    amounts: Mapping[str, int]
    left_out: Mapping[str, int]
    shown: Mapping[int, str]


def read_selected(
    session: ReadSession, action: ManyAction, ids: Sequence[int], group_ids: GroupIds
) -> Selected:
    """Return what ``action`` would meet in ``ids``."""
    seen = _seen(session, ids, group_ids)
    if action == "verify":
        return Selected(_amounts(seen), {}, {})
    left_out = ignoring.find_left_out(session, seen)
    counts = Counter(left_out.values())
    counts["anomaly"] = len(ids) - len(seen)
    willing = [one for one in seen if one.id not in left_out]
    return Selected(_amounts(willing), +counts, {one.id: shown.digest_of(one) for one in seen})


def _amounts(anomalies: Sequence[Anomaly]) -> dict[str, int]:
    amounts: Counter[str] = Counter()
    for anomaly in anomalies:
        amounts[anomaly.currency] += anomaly.amount_minor or 0
    return dict(amounts)


def act_on_batch(
    session: WorkSession,
    action: ManyAction,
    ids: Sequence[int],
    order: Order,
    *,
    group_ids: GroupIds,
    seen: Mapping[int, str] | None = None,
) -> Done:
    """Do ``action`` with up to BATCH anomalies; what is in no state for it is left out and counted.

    One that has moved money, or is debited and unpaid, is never ignored among many: a person looks at it
    alone. Nor is one that has changed since the form showed it: ``seen`` are the digests the form carries, by
    anomaly id, None where there was no form. Raises InvalidError for the reason.
    """
    required_reason(order.reason)
    done, skipped = 0, Counter[str]()
    for anomaly_id in ids:
        try:
            if action == "verify":
                _verify(session, anomaly_id, order, group_ids)
            else:
                one_seen = None if seen is None else seen.get(anomaly_id, "")
                _ignore(session, anomaly_id, order, group_ids, one_seen)
            done += 1
        except (ConflictError, NotFoundError) as error:
            skipped[error.code] += 1
    return Done(done, dict(skipped))


def _verify(session: WorkSession, anomaly_id: int, order: Order, group_ids: GroupIds) -> None:
    service.verify(
        session, anomaly_id, reason=order.reason, actor=order.actor, group_ids=group_ids, now=order.now
    )


def _ignore(
    session: WorkSession, anomaly_id: int, order: Order, group_ids: GroupIds, seen: str | None
) -> None:
    ignoring.ignore_among_many(
        session,
        anomaly_id,
        reason=order.reason,
        actor=order.actor,
        group_ids=group_ids,
        now=order.now,
        seen=seen,
    )


def _seen(session: ReadSession, ids: Sequence[int], group_ids: GroupIds) -> list[Anomaly]:
    statement = select(Anomaly).where(Anomaly.id.in_(ids))
    if group_ids is not None:
        statement = statement.where(Anomaly.group_id.in_(list(group_ids)))
    return list(session.scalars(statement).unique())
