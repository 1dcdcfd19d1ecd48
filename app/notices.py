"""What must be said at the head of a plan or a group, by rooms that its own room does not know."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import current_app

from app.keyset import ReadSession

PLAN: Final = "plan_notices"
GROUP: Final = "group_notices"
NEW: Final = "new"
ALL: Final = "all"
"""What of a plan a notice says not to begin by itself: repairs that have moved no money, or any."""


@dataclass(frozen=True)
class Notice:
    """``title`` and ``text`` stand on the page of the subject, ``short`` in a list; ``url`` tells more.

    ``color`` and ``icon`` as app.words.Look has them; all texts are in the reader's language. ``holds``: NEW,
    ALL, or '' where the plan goes on.
    """

    color: str
    icon: str
    title: str
    text: str
    short: str
    url: str
    holds: str = ""


BESIDE_STOPS: Final = "beside_stops"

Teller = Callable[[ReadSession, Sequence[Any]], dict[int, list[Notice]]]
"""Returns notices of plans, or of groups, by id, for a page of them at once; bound by create_app."""


def notices_of(kind: str, session: ReadSession, subjects: Sequence[Any]) -> dict[int, list[Notice]]:
    """Return what is to be said of each plan (PLAN) or group (GROUP), by id."""
    found: dict[int, list[Notice]] = defaultdict(list)
    tellers: tuple[Teller, ...] = current_app.extensions.get(kind, ())
    if subjects:
        for teller in tellers:
            for subject_id, notices in teller(session, subjects).items():
                found[subject_id] += notices
    return found


Counter = Callable[[ReadSession, Collection[int] | None], int]
"""Counts what keeps plans of groups (None: of all) from beginning by themselves, beside any stop; bound by
create_app."""


def count_beside_stops(session: ReadSession, group_ids: Collection[int] | None) -> int:
    """Return how much keeps plans of these groups from beginning, though no stop does."""
    counters: tuple[Counter, ...] = current_app.extensions.get(BESIDE_STOPS, ())
    return sum(count(session, group_ids) for count in counters)


def holding(notices: Sequence[Notice], *, has_moved_money: bool = False) -> list[Notice]:
    """Return those that keep a plan from beginning a repair by itself."""
    return [one for one in notices if one.holds == ALL or (one.holds == NEW and not has_moved_money)]
