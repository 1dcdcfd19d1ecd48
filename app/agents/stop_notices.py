"""What pages say of the stop that keeps repairs from beginning."""

from collections.abc import Sequence
from typing import Protocol

from flask import url_for

from app.agents.standing import Block, find_blocks
from app.agents.stops import has_work
from app.clock import current_time
from app.i18n import translate as _
from app.keyset import ReadSession
from app.messages import words
from app.notices import ALL, Notice


class Planned(Protocol):
    """A plan, of which the agents' room knows no more."""

    id: int
    group_id: int
    fixer_code: str


def of_plans(session: ReadSession, plans: Sequence[Planned]) -> dict[int, list[Notice]]:
    """Return by plan the stop that holds it back, of everything, its group or all its agents."""
    if not has_work(session):
        return {}
    blocks = find_blocks(session, {(plan.group_id, plan.fixer_code) for plan in plans}, current_time())
    found = ((plan.id, blocks.get((plan.group_id, plan.fixer_code))) for plan in plans)
    return {plan_id: [notice_of(block)] for plan_id, block in found if block is not None}


def marked_name(name: str, *, is_stopped_here: bool) -> str:
    """Return an agent's name with a mark where it is stopped on its host."""
    return _("%(name)s（本地已停止）", name=name) if is_stopped_here else name


def notice_of(block: Block) -> Notice:
    """Return what is said of a stop where it holds everything back."""
    return Notice(
        color="red",
        icon="player-stop",
        title=_("紧急停止中，不开始任何修复"),
        text=words(block.error()),
        short=_("紧急停止中"),
        url=url_for("stops.list_stops"),
        holds=ALL,
    )
