"""The broadcast (发起收集广播): who would be asked, sending it; recurring collections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.agents import queries as agent_queries
from app.agents import service as agent_service
from app.agents.service import AgentPresence
from app.anomalies import collections
from app.anomalies.models import CollectionRun
from app.anomalies.service import GroupIds
from app.audit.reasons import reason_errors
from app.audit.service import Actor
from app.errors import InvalidError, NotFoundError
from app.forms import Form
from app.keyset import Cut, Page, ReadSession
from app.plans import schedules
from app.plans.fixer_codes import fixer_choices, group_codes, unknown_code_errors
from app.plans.models import CollectionSchedule
from app.plans.schedules import ScheduleValues
from app.unit_of_work import WorkSession
from app.users import groups
from app.users.models import SystemGroup
from app.users.service import FormErrors

AGENTS_SHOWN = 5
GROUPS_A_PAGE = 20
NEW_SCHEDULE_CRON = "0 0/10 * * * ?"


@dataclass(frozen=True)
class GroupOffer:
    """A group, how many of its agents are online and how many there are, and the first AGENTS_SHOWN of them,
    those online before the others. Revoked ones do not count."""

    group: SystemGroup
    online: int
    total: int
    agents: tuple[AgentPresence, ...]


@dataclass(frozen=True)
class ScheduleRow:
    """A group and its recurring collection, None where it has none."""

    group: SystemGroup
    schedule: CollectionSchedule | None


def visible_groups(session: ReadSession, group_ids: GroupIds) -> list[SystemGroup]:
    """Return the groups a person may see, by sysCode."""
    return groups.list_groups(session, None if group_ids is None else list(group_ids))


def group_choices(
    session: ReadSession, group_ids: GroupIds, *, is_enabled: bool | None = None
) -> list[tuple[str, str]]:
    """Return (sysCode, words) of the groups a person may see; None of both kinds."""
    return [
        (group.sys_code, f"{group.sys_code} {group.name}".strip())
        for group in visible_groups(session, group_ids)
        if is_enabled in (None, group.is_enabled)
    ]


def codes(session: ReadSession, group_ids: GroupIds) -> list[str]:
    """Return every fixer code a broadcast can name: the known ones first."""
    return fixer_choices(session, group_ids)


def offers(session: ReadSession, group_ids: GroupIds, now: datetime, cut: Cut) -> Page[GroupOffer]:
    """Return a page of the visible enabled groups by sysCode, with agents. Raises InvalidError('cursor')."""
    page = _page(session, group_ids, cut, "enabled")
    counts = agent_queries.presence_counts(session, [group.id for group in page.rows], now)
    rows = [_offer(session, group, counts.get(group.id, {}), now) for group in page.rows]
    return Page(rows, page.after, page.before)


def _offer(session: ReadSession, group: SystemGroup, counts: dict[str, int], now: datetime) -> GroupOffer:
    first = agent_queries.first_agents(session, group.id, now, AGENTS_SHOWN) if counts else []
    return GroupOffer(
        group=group,
        online=counts.get("online", 0),
        total=sum(counts.values()),
        agents=tuple(AgentPresence(agent, agent_service.presence_of(agent, now)) for agent in first),
    )


def _page(session: ReadSession, group_ids: GroupIds, cut: Cut, state: str = "") -> Page[SystemGroup]:
    seen = None if group_ids is None else list(group_ids)
    return groups.page_groups(session, cut, group_ids=seen, state=state)[0]


def mistakes(
    session: ReadSession,
    *,
    sys_codes: Sequence[str],
    codes: Sequence[str],
    window: tuple[datetime, datetime] | None,
    reason: str,
    group_ids: GroupIds,
) -> list[InvalidError]:
    """Return everything wrong with a broadcast; a window of None is not looked at."""
    wrong = [] if window is None else collections.window_errors(window)
    if not codes:
        wrong.append(InvalidError("fixer_codes_required", field="codes"))
    if not sys_codes:
        wrong.append(InvalidError("required", field="groups"))
    by_code = {group.sys_code: group for group in visible_groups(session, group_ids)}
    asked = [by_code[sys_code] for sys_code in sys_codes if sys_code in by_code]
    for sys_code in sys_codes:
        if sys_code not in by_code:
            wrong.append(InvalidError("unknown_group", field="groups", sys_code=sys_code))
    unknown = unknown_code_errors(session, [group.id for group in asked], codes) if asked else []
    wrong += unknown or [
        InvalidError("codes_not_offered", field="groups", sys_code=group.sys_code)
        for group in asked
        if codes and not share_of(session, group, codes)
    ]
    return wrong + reason_errors(reason, is_required=False)


def share_of(session: ReadSession, group: SystemGroup, codes: Sequence[str]) -> list[str]:
    """Return those of the codes that the group's own agents can be asked for."""
    offered = group_codes(session, group.id)
    return [code for code in codes if code in offered]


def send(
    session: WorkSession,
    *,
    sys_codes: Sequence[str],
    codes: Sequence[str],
    window: tuple[datetime, datetime],
    actor: Actor,
    reason: str,
    group_ids: GroupIds,
    now: datetime,
) -> list[CollectionRun]:
    """Start one run a group, each for its own share of the codes.

    Raises FormErrors of ``mistakes``, and as collections.start_run.
    """
    wrong = mistakes(
        session, sys_codes=sys_codes, codes=codes, window=window, reason=reason, group_ids=group_ids
    )
    if wrong:
        raise FormErrors(wrong)
    by_code = {group.sys_code: group for group in visible_groups(session, group_ids)}
    return [
        collections.start_run(
            session,
            group=by_code[sys_code],
            codes=share_of(session, by_code[sys_code], codes),
            window=window,
            trigger="click",
            actor=actor,
            reason=reason,
            now=now,
        )
        for sys_code in dict.fromkeys(sys_codes)
    ]


def schedule_rows(session: ReadSession, group_ids: GroupIds, cut: Cut) -> Page[ScheduleRow]:
    """Return a page of the visible groups by sysCode, each with its recurring collection.

    Raises InvalidError('cursor').
    """
    page = _page(session, group_ids, cut)
    known = {one.group_id: one for one in schedules.list_schedules(session, [row.id for row in page.rows])}
    rows = [ScheduleRow(group, known.get(group.id)) for group in page.rows]
    return Page(rows, page.after, page.before)


def schedule_form(session: ReadSession, sys_code: str, group_ids: GroupIds) -> Form:
    """Return the form of a group's recurring collection as it stands, with the digest of what it shows.

    Raises NotFoundError('group').
    """
    group = next((one for one in visible_groups(session, group_ids) if one.sys_code == sys_code), None)
    if group is None:
        raise NotFoundError("group")
    schedule = schedules.find_schedule(session, group.id)
    seen = schedules.digest_of(schedule)
    if schedule is None:
        new = {"cron": NEW_SCHEDULE_CRON, "zone": group.zone, "window_hours": 168, "is_enabled": True}
        return Form({**new, "seen": seen})
    return Form(
        {
            "seen": seen,
            "cron": schedule.cron,
            "zone": schedule.zone,
            "window_hours": schedule.window_hours,
            "codes": schedule.fixer_codes,
            "is_enabled": schedule.is_enabled,
        }
    )


@dataclass(frozen=True)
class OfferedCodes:
    """The codes a recurring collection can name: those of the group, then those ``chosen`` beside them.

    ``missing`` are the chosen ones that no online agent of the group offers now.
    """

    codes: tuple[str, ...]
    missing: frozenset[str]


def offered_codes(session: ReadSession, group_id: int, chosen: Sequence[str], now: datetime) -> OfferedCodes:
    """Return the codes to offer where ``chosen`` stand ticked."""
    codes = fixer_choices(session, [group_id])
    online = {code for _group, code in agent_queries.offer_counts(session, [group_id], now)}
    return OfferedCodes(tuple(dict.fromkeys([*codes, *chosen])), frozenset(chosen) - online)


def schedule_values(form: Form, sys_code: str) -> ScheduleValues:
    """Read the form; a window that is no number becomes 0, which is out of range."""
    hours = form.text("window_hours")
    return ScheduleValues(
        sys_code=sys_code,
        cron=form.text("cron"),
        zone=form.text("zone"),
        fixer_codes=tuple(form.many("codes")),
        window_hours=int(hours) if hours.isdecimal() and len(hours) < 6 else 0,
        is_enabled=form.is_ticked("is_enabled"),
    )
