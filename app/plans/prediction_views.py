"""Shadow results (影子结果) of a plan, one prediction beside what then happened, and dry runs (试运行)."""

from typing import Final

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.anomalies.service import get_anomaly
from app.clock import current_time
from app.errors import ConflictError, NotFoundError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import translate as _
from app.keyset import Cut
from app.plans import predictions, service
from app.plans.fixer_codes import agents_offering
from app.plans.prediction_models import PREDICTED, RESULTS
from app.plans.prediction_queries import (
    PredictionFilter,
    count_predictions,
    get_prediction,
    list_predictions,
    shadow_figures,
)
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires

blueprint = Blueprint("predictions", __name__)

FILTERS: Final = ("outcome", "result")


@blueprint.get("/plans/<int:plan_id>/predictions")
def list_of_plan(plan_id: int) -> ResponseReturnValue:
    plan = service.get_plan(db.session, plan_id, current_group_ids())
    form = Form(request.args)
    wanted = PredictionFilter(
        plan_id=plan.id,
        outcome=filters.choice(form, "outcome", form.text("outcome"), PREDICTED),
        result=filters.choice(form, "result", form.text("result"), RESULTS),
    )
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    return render_list(
        "predictions/index.html",
        "predictions/_table.html",
        400 if form.errors else 200,
        plan=plan,
        page=list_predictions(db.session, wanted, cut),
        count=count_predictions(db.session, wanted),
        figures=shadow_figures(db.session, plan),
        form=form,
        is_filtered=any(form.text(name) for name in FILTERS),
    )


@blueprint.get("/anomalies/predictions/<int:prediction_id>")
def show_prediction(prediction_id: int) -> ResponseReturnValue:
    found = get_prediction(db.session, prediction_id, current_group_ids())
    return render_detail("predictions/detail.html", prediction=found)


@blueprint.route("/anomalies/<int:anomaly_id>/dry-run", methods=["GET", "POST"])
@requires("operator")
def dry_run(anomaly_id: int) -> ResponseReturnValue:
    """Ask what a repair would do, which the agent answers without writing anything."""
    form = Form(request.form)
    if request.method == "GET":
        return _dialog(form, anomaly_id, 200)
    try:
        with unit_of_work() as work:
            predictions.dry_run(
                work,
                anomaly_id,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=current_group_ids(),
                now=current_time(),
            )
    except NotFoundError:
        raise
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, anomaly_id, 409 if isinstance(error, ConflictError) else 400)
    anomaly = get_anomaly(db.session, anomaly_id, current_group_ids())
    return finish(
        _("已要求试运行：%(number)s；结果显示在这笔异常中", number=anomaly.trade_no),
        url_for("anomalies.show_anomaly", anomaly_id=anomaly_id),
    )


def _dialog(form: Form, anomaly_id: int, status: int) -> ResponseReturnValue:
    anomaly = get_anomaly(db.session, anomaly_id, current_group_ids())
    names = agents_offering(db.session, anomaly.group_id, anomaly.fixer_code, current_time())
    return render_dialog("predictions/dry_run.html", status, form=form, anomaly=anomaly, agents=names)
