"""What befalls a schedule while it is rough, at moments its seed draws: one trouble after another.

Each counts itself under its name where it comes to something: a click on what is not there is none.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from chaos.simulation import machines, people, production

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

GAPS: Final = (2.0, 10.0, 30.0)

Trouble = Callable[["Schedule"], None]

TROUBLES: Final[dict[str, Trouble]] = {
    "kill at random": machines.kill,
    "agent lost": machines.lose,
    "network parted": machines.part,
    "machine stalled": machines.stall,
    "person clicks": people.click,
    "person cancels": people.cancel,
    "person verifies": people.verify,
    "plan disabled": people.disable,
    "collected again": people.collect_again,
    "repairs stopped": people.stop,
    "paid again": people.pay_again,
    "reversed": people.reverse,
    "production posts": production.post,
    "production edits": production.edit,
    "original paid late": production.pay_late,
    "edits in between": production.edit_between,
    "cancels in between": people.cancel_between,
}
APART: Final[dict[str, Trouble]] = {"production pays": production.pay}
"""Drawn by a chance of their own, so that the other seeds stay what they were."""
SCRIPTED: Final[dict[str, Trouble]] = {
    "person cancels at once": people.cancel_at_once,
    "agent killed in a collection": machines.kill_collecting,
    "reversed when unpaid": people.reverse_when_unpaid,
    "machine paused": machines.pause,
    "server reads no further": machines.leave_unread,
}
"""What brings a schedule to points that it would not come to by itself, or seldom; no seed draws these."""


PATIENT: Final = (
    "agent lost",
    "cancels in between",
    "edits in between",
    "paid again",
    "reversed",
    "production pays",
)
"""What waits for its moment from the beginning, as long as the schedule is rough, and comes once."""


class _Fate:
    """Whose strand a trouble is that waits; it never dies."""

    name = "fate"
    is_dead = False


def make_trouble(schedule: "Schedule", kinds: tuple[str, ...]) -> None:
    """Make trouble of these kinds until the schedule heals, a scripted one once; none: a quiet schedule.

    A strand of its own, and one for each that waits for its moment.
    """
    chance = schedule.chance
    for kind in kinds:
        if kind in PATIENT:
            schedule.loom.note(f"trouble: {kind}")
            schedule.loom.spawn(_Fate(), kind, partial((TROUBLES | APART)[kind], schedule))
    kinds = tuple(kind for kind in kinds if kind not in PATIENT)
    while kinds and schedule.is_rough:
        is_scripted = kinds[0] in SCRIPTED
        if not is_scripted:
            schedule.loom.sleep(chance.uniform(0.5, 1.5) * chance.choice(GAPS))
        if not schedule.is_rough:
            return
        kind = chance.choice(kinds)
        schedule.loom.note(f"trouble: {kind}")
        (TROUBLES | SCRIPTED)[kind](schedule)
        if is_scripted:
            return
