"""The form of a plan: its fields are named as the parameters of PlanValues."""

from collections.abc import Sequence
from dataclasses import asdict

from app.forms import Form
from app.i18n import DEFAULT_ZONE
from app.keyset import ReadSession
from app.limit_form import read_limits, typed
from app.plans.limits import LIMITS
from app.plans.models import Plan
from app.plans.product_plans import PlanValues
from app.plans.service import values_of
from app.plans.validation import NOT_A_NUMBER
from app.thresholds import THRESHOLDS
from app.users.groups import find_group


def new_form(session: ReadSession, sys_code: str, fixer_code: str) -> Form:
    """Return an empty form with the defaults of the product document.

    The zone is that of the group asked for; without one it stays empty, which means the group's once sent.
    """
    group = find_group(session, sys_code)
    zone = group.zone if group is not None else ""
    return Form(typed(asdict(PlanValues(sys_code=sys_code, fixer_code=fixer_code, zone=zone))))


def form_of(plan: Plan) -> Form:
    """Return the form of a plan as it stands, with the version it shows."""
    return Form({**typed(asdict(values_of(plan))), "version": plan.version})


def copy_form(plan: Plan) -> Form:
    """Return the form of a new plan with the values of another; one of the two keys is to be changed."""
    return Form(typed(asdict(values_of(plan))))


def read_values(session: ReadSession, form: Form) -> PlanValues:
    """Read what was typed; what is no number is out of range. The service says what is wrong.

    An empty zone is that of the group.
    """
    return PlanValues(
        sys_code=form.text("sys_code"),
        fixer_code=form.text("fixer_code"),
        max_retries=read_number(form.text("max_retries")),
        retry_cron=" ".join(form.text("retry_cron").split()),
        mode=form.text("mode"),
        state=form.text("state"),
        level=read_number(form.text("level")),
        description=form.text("description"),
        zone=read_zone(session, form),
        is_shadow=form.is_ticked("is_shadow"),
        **read_limits(form, (*LIMITS, *THRESHOLDS)),
    )


def read_zone(session: ReadSession, form: Form) -> str:
    """Return the zone typed; left empty, that of the group chosen, the default's where there is none yet."""
    group = find_group(session, form.text("sys_code"))
    return form.text("zone") or (group.zone if group is not None else DEFAULT_ZONE)


def is_typed(form: Form, names: Sequence[str]) -> bool:
    """Return whether any of the fields holds something: they are folded away otherwise."""
    return any(form.text(name) for name in names)


def read_version(form: Form) -> int | None:
    """Return the version the form was opened on, None where it does not say."""
    text = form.text("version")
    return read_number(text) if text else None


def read_number(text: str) -> int:
    """Return a whole number, NOT_A_NUMBER for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else NOT_A_NUMBER
