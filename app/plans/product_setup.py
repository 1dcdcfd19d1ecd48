"""The product document's plans for a group that has none."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import select

from app.audit.service import Actor
from app.errors import ConflictError, NotFoundError
from app.plans.fixer_codes import KNOWN_FIXERS
from app.plans.models import Plan
from app.plans.product_plans import PRODUCT_PLANS
from app.plans.service import GroupIds, create_plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup


def create_product_plans(
    session: WorkSession, sys_code: str, *, actor: Actor, now: datetime, group_ids: GroupIds
) -> list[Plan]:
    """Make the eight plans with the document's values, in the group's zone; each is described by its fixer.

    Raises NotFoundError('group'), ConflictError('group_has_plans').
    """
    group = session.scalars(select(SystemGroup).where(SystemGroup.sys_code == sys_code)).first()
    if group is None or (group_ids is not None and group.id not in group_ids):
        raise NotFoundError("group")
    if session.scalars(select(Plan.id).where(Plan.group_id == group.id).limit(1)).first() is not None:
        raise ConflictError("group_has_plans", sys_code=sys_code)
    return [
        create_plan(
            session,
            replace(
                values,
                sys_code=sys_code,
                zone=group.zone,
                description=KNOWN_FIXERS[values.fixer_code].zh,
            ),
            actor=actor,
            now=now,
            group_ids=group_ids,
        )
        for values in PRODUCT_PLANS
    ]
