"""Reading predictions: of a plan by keyset and in figures, of an anomaly."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from app.anomalies.models import Anomaly
from app.errors import NotFoundError
from app.keyset import COUNT_CAP, CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.plans.models import Plan
from app.plans.prediction_models import PREDICTED, RESULTS, Prediction
from app.plans.service import GroupIds

NEWEST_FIRST = Order(Prediction.id, Prediction.id)


@dataclass(frozen=True)
class PredictionFilter:
    """What a list shows; an empty field does not narrow."""

    plan_id: int
    outcome: str = ""
    result: str = ""


@dataclass(frozen=True)
class ShadowFigures:
    """A plan's predictions: the newest of each anomaly by what it foretold, those compared by result.

    ``amounts``: of the trades foretold to be repaired, by currency; of as many as their count tells.
    """

    outcomes: dict[str, CappedCount]
    amounts: dict[str, int]
    results: dict[str, CappedCount]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was foretold yet."""
        return not any(counted.count for counted in (*self.outcomes.values(), *self.results.values()))


def list_predictions(session: ReadSession, wanted: PredictionFilter, cut: Cut) -> Page[Prediction]:
    """Return one page, newest first. Raises InvalidError('cursor')."""
    return page_of(session, Prediction, _conditions(wanted), NEWEST_FIRST, cut)


def count_predictions(session: ReadSession, wanted: PredictionFilter) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, Prediction, _conditions(wanted))


def _conditions(wanted: PredictionFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [Prediction.plan_id == wanted.plan_id]
    if wanted.outcome:
        found.append(Prediction.outcome == wanted.outcome)
    if wanted.result:
        found.append(Prediction.result == wanted.result)
    return found


def shadow_figures(session: ReadSession, plan: Plan) -> ShadowFigures:
    """Count a plan's predictions and sum up what it would repair, each figure capped."""
    of_plan, is_newest = Prediction.plan_id == plan.id, Prediction.is_newest.is_(True)
    return ShadowFigures(
        outcomes={
            outcome: capped_count(session, Prediction, [of_plan, Prediction.outcome == outcome, is_newest])
            for outcome in PREDICTED
        },
        amounts=_amounts(session, [of_plan, Prediction.outcome == "repair", is_newest]),
        results={
            result: capped_count(session, Prediction, [of_plan, Prediction.result == result])
            for result in RESULTS
        },
    )


def _amounts(session: ReadSession, conditions: list[ColumnElement[bool]]) -> dict[str, int]:
    """Return the amounts of the trades of these predictions by currency, those that can be read."""
    of_trades = (
        select(Anomaly.currency, Anomaly.amount_minor)
        .join(Prediction, Prediction.anomaly_id == Anomaly.id)
        .where(*conditions, Anomaly.amount_minor > 0)
        .limit(COUNT_CAP)
        .subquery()
    )
    sums = select(of_trades.c.currency, func.sum(of_trades.c.amount_minor)).group_by(of_trades.c.currency)
    return {currency: int(total) for currency, total in session.execute(sums)}


def get_prediction(session: ReadSession, prediction_id: int, group_ids: GroupIds) -> Prediction:
    """Return a prediction. Raises NotFoundError('prediction')."""
    found = session.get(Prediction, prediction_id)
    if found is None or (group_ids is not None and found.group_id not in group_ids):
        raise NotFoundError("prediction")
    return found


def find_telling(session: ReadSession, anomaly_id: int) -> Prediction | None:
    """Return the prediction an anomaly's page shows: the one that was compared, else the newest, or None."""
    of_anomaly = select(Prediction).where(Prediction.anomaly_id == anomaly_id)
    by_result = of_anomaly.order_by(Prediction.compared_at.is_(None), Prediction.id.desc()).limit(1)
    return session.scalars(by_result).first()
