"""What was foretold of an anomaly, held against what became of it: how it ended, and the row it left."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from agent.facts import ROW_COLUMNS
from app.anomalies.models import Anomaly
from app.keyset import ReadSession
from app.plans.prediction_models import OTHER_ENDS, Prediction, is_number_to_come
from app.unit_of_work import WorkSession

WITH_ROW: Final = ("repaired", "healed")
"""The states in which the row as it then was read tells what became of a trade."""


def compare_ended(session: WorkSession, anomaly: Anomaly, now: datetime) -> None:
    """An anomaly closed, or needs a person, or has no attempts left: hold what was foretold against that.

    Of an anomaly one prediction is compared: the first time the newest that foretells an end (a wait
    foretells none), and from then on the same. What differs does so for good: a repair that needed a person
    on its way is not what was foretold of the plan.
    """
    foretold = _find_compared(session, anomaly) or _find_newest(session, anomaly)
    if foretold is None:
        return
    has_row = anomaly.state in WITH_ROW
    is_other = anomaly.state in OTHER_ENDS[foretold.outcome]
    if foretold.outcome == "repair" and has_row:
        if foretold.after is None or foretold.row is None:
            return
        foretold.differing = differences(foretold.row, foretold.after, anomaly.row)
        is_other = bool(foretold.differing)
    if foretold.result != "differs":
        foretold.result, foretold.ended = "differs" if is_other else "matched", anomaly.state
    if has_row:
        foretold.actual = anomaly.row
        foretold.actual_by = "piculus" if anomaly.state == "repaired" else "outside"
    foretold.compared_at = now
    session.touch("plans")


def is_compared(session: ReadSession, anomaly: Anomaly) -> bool:
    """Return whether a prediction of an anomaly was held against what became of it."""
    return _find_compared(session, anomaly) is not None


def _find_compared(session: ReadSession, anomaly: Anomaly) -> Prediction | None:
    compared = select(Prediction).where(Prediction.anomaly_id == anomaly.id, Prediction.result.is_not(None))
    return session.scalars(compared.order_by(Prediction.id.desc()).limit(1)).first()


def _find_newest(session: ReadSession, anomaly: Anomaly) -> Prediction | None:
    of_end = select(Prediction).where(Prediction.anomaly_id == anomaly.id, Prediction.outcome.in_(OTHER_ENDS))
    return session.scalars(of_end.order_by(Prediction.id.desc()).limit(1)).first()


def differences(
    before: Mapping[str, Any], predicted: Mapping[str, Any], actual: Mapping[str, Any]
) -> list[str]:
    """Return the columns in which a row is not as predicted, in the product document's order.

    A voucher number that the ledger had yet to give is predicted as null beside a leg that becomes booked:
    any number then is as predicted.
    """
    return [
        column
        for column in ROW_COLUMNS
        if not _is_as_predicted(column, before, predicted, actual.get(column))
    ]


def _is_as_predicted(
    column: str, before: Mapping[str, Any], predicted: Mapping[str, Any], actual: object
) -> bool:
    if is_number_to_come(column, before, predicted):
        return isinstance(actual, str) and bool(actual.strip())
    return bool(predicted.get(column) == actual)
