"""Claims pending commands for the agents whose sockets this process holds, and sends them.

It looks when something was issued (``look_now``) and every 250 ms, for what other processes wrote. A command
is claimed by conditional update and committed before its frame leaves.
"""

import logging
import threading
import time
from typing import Final

import msgspec
from flask import Flask
from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from agent.errors import ProtocolError
from agent.failpoints import Failpoint
from agent.protocol import CLOSE_OVERTAKEN, CLOSE_REVOKED, Cancel
from app.agents import commands, recovery
from app.agents.claims import Claim, assign, bound_conditions, claim, spare
from app.agents.command_frames import message_of
from app.agents.hub import AgentSession, Hub, reason_to_end
from app.agents.models import IS_LIVE, IS_PENDING, LIVE, Agent, Command
from app.agents.presence import Presence
from app.agents.standing import read_holds
from app.agents.writer import Job, Writer
from app.clock import Clock
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
LEAST_SECONDS: Final = 0.01
"""The least time between two rounds: results that come in by the hundred ask for one look together."""
PRESENCE_SECONDS: Final = 1.0
ENDED_SECONDS: Final = 0.5
HELLO_SECONDS: Final = 2.0
"""How long a session that a later handshake has overtaken is kept for that one's Hello."""
PAGE: Final = 500

_CURRENT: Final = select(Agent.id, Agent.epoch).where(
    Agent.connected_at.is_not(None), Agent.revoked_at.is_(None)
)
_CANCELLED: Final = select(Command).where(
    IS_LIVE, Command.state != "pending", Command.cancel_requested_at.is_not(None)
)
_WAITING: Final = (
    select(SystemGroup.id)
    .where(SystemGroup.is_enabled, exists().where(Command.group_id == SystemGroup.id, IS_PENDING))
    .order_by(SystemGroup.id)
)
"""Asked again and again, so built once."""

_CLAIM: Final = Failpoint("server.claim.before")
_CLAIMED: Final = Failpoint("server.claim.after")


class Dispatcher:
    """The thread. ``in_flight_limit``: commands an agent holds at once."""

    def __init__(
        self, app: Flask, hub: Hub, writer: Writer, presence: Presence, clock: Clock, in_flight_limit: int
    ) -> None:
        self._app = app
        self._hub = hub
        self._writer = writer
        self._presence = presence
        self._clock = clock
        self._limit = in_flight_limit
        self._look = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._cancels_sent: dict[str, int] = {}
        self._looked_at = 0.0
        self._presence_due = 0.0
        self._ended_due = 0.0
        self._ended_since: dict[AgentSession, float] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more and end."""
        self._stopping.set()
        self._look.set()
        if self._thread is not None:
            self._thread.join(10)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def look_now(self) -> None:
        """Look without waiting for the next poll."""
        self._look.set()

    def _run(self) -> None:
        with self._app.app_context():
            while not self._stopping.is_set():
                self._look.wait(POLL_SECONDS)
                self._stopping.wait(self._looked_at + LEAST_SECONDS - time.monotonic())
                self._look.clear()
                self._looked_at = time.monotonic()
                try:
                    self.round()
                except SQLAlchemyError as error:
                    log.error("the dispatcher cannot read or write: %s", error)
                    self._stopping.wait(POLL_SECONDS)
                except Exception:
                    # A background job's edge: whatever one round meets, the next one is tried.
                    log.exception("a round of the dispatcher failed")
                    self._stopping.wait(POLL_SECONDS)
                finally:
                    db.session.remove()

    def round(self) -> None:
        """Look once: sessions that ended elsewhere, cancels, pending commands.

        Needs an application context.
        """
        now = time.monotonic()
        if now >= self._presence_due:
            self._presence_due = now + PRESENCE_SECONDS
            self._write_presence()
        if now >= self._ended_due:
            self._ended_due = now + ENDED_SECONDS
            self._close_ended()
        self._send_cancels()
        while self._dispatch() and not self._stopping.is_set():
            pass

    def _write_presence(self) -> None:
        gathered = self._presence.take()
        if gathered is not None:
            self._writer.submit(Job(gathered.write, _log_lost_presence))

    def _close_ended(self) -> None:
        """Close sockets of agents revoked or replaced through another process, or given a new token."""
        held = self._hub.sessions()
        if not held:
            return
        current = {row.id: row.epoch for row in db.session.execute(_CURRENT)}
        ended = [one for one in held if one.peer is not None and current.get(one.agent_id) != one.epoch]
        now = time.monotonic()
        self._ended_since = {one: self._ended_since.get(one, now) for one in ended}
        for session in ended:
            code, words = _reason_of(session)
            # A later handshake may be of another start, whose Hello is on its way and decides the code.
            if code != CLOSE_OVERTAKEN or now - self._ended_since[session] >= HELLO_SECONDS:
                _close(session, code, words)

    # ---- cancels

    def _send_cancels(self) -> None:
        held = {session.agent_id: session for session in self._hub.sessions() if session.is_ready}
        if not held:
            return
        asked = db.session.scalars(_CANCELLED).all()
        waiting = {command.id for command in asked}
        self._cancels_sent = {one: epoch for one, epoch in self._cancels_sent.items() if one in waiting}
        for command in asked:
            session = held.get(command.agent_id or 0)
            if session is None or self._cancels_sent.get(command.id) == session.epoch:
                continue
            cancel = Cancel(id=commands.cancel_id_of(command), command_id=command.id, reason=command.error)
            if self._hub.send(session, cancel):
                self._cancels_sent[command.id] = session.epoch

    # ---- commands

    def _dispatch(self) -> bool:
        """Claim and send one page of each group; return whether there may be more."""
        ready = [session for session in self._hub.sessions() if session.is_ready]
        waiting = self._waiting({session.group_id for session in ready}) if ready else []
        if not waiting:
            return False
        ready = [session for session in ready if session.group_id in waiting]
        holds = read_holds(db.session)
        for one in ready:
            one.is_held = holds.holds(one.agent_id, one.group_id)
        spare(ready, self._clock())
        room = self._room(ready)
        wanted: list[Claim] = []
        for group_id in waiting:
            wanted += self._claims_of(group_id, [one for one in ready if one.group_id == group_id], room)
        if not wanted:
            return False
        _CLAIM()
        with unit_of_work() as session:
            claimed = claim(session, wanted, self._clock())
        _CLAIMED()
        self._send(claimed)
        return len(claimed) >= PAGE

    def _waiting(self, group_ids: set[int]) -> list[int]:
        """Return those of the groups that have pending commands and are enabled: a disabled one is sent
        nothing new. Most rounds ask no more than this.
        """
        return [group_id for group_id in db.session.scalars(_WAITING) if group_id in group_ids]

    def _room(self, sessions: list[AgentSession]) -> dict[int, int]:
        """Return how many more commands each agent may be sent."""
        counts = db.session.execute(
            select(Command.agent_id, func.count())
            .where(IS_LIVE, Command.agent_id.is_not(None), Command.state != "pending")
            .group_by(Command.agent_id)
        )
        in_flight = {row[0]: row[1] for row in counts}
        return {one.agent_id: self._limit - in_flight.get(one.agent_id, 0) for one in sessions}

    def _claims_of(self, group_id: int, sessions: list[AgentSession], room: dict[int, int]) -> list[Claim]:
        """Give a page of the group's commands to its sessions; ``room`` is used up.

        A page full of what only some can take hides what waits for the others: those are looked for again.
        """
        claims: list[Claim] = []
        while len(claims) < PAGE:
            open_sessions = [one for one in sessions if room[one.agent_id] > 0]
            if not open_sessions:
                break
            pending = self._pending(group_id, open_sessions, [one.command.seq for one in claims])
            made = assign(pending, open_sessions, room)
            claims += made
            if len(pending) < PAGE or not made:
                break
        return claims

    def _pending(self, group_id: int, sessions: list[AgentSession], taken: list[int]) -> list[Command]:
        """Return pending commands that one of the sessions can take, the most important and oldest first.

        Not what no claim would win: a page full of that hides what waits behind it, and so it does room.
        ``taken``: the ``seq`` of those that are given away already.
        """
        return list(
            db.session.scalars(
                select(Command)
                .where(
                    Command.group_id == group_id,
                    IS_PENDING,
                    Command.cancel_requested_at.is_(None),
                    *bound_conditions(),
                    Command.seq.not_in(taken),
                    _is_for_one_of(sessions),
                )
                .order_by(Command.priority.desc(), Command.seq)
                .limit(PAGE)
            )
        )

    def _send(self, claimed: list[Claim]) -> None:
        now = self._clock()
        unsent: dict[int, list[str]] = {}
        for one in claimed:
            try:
                is_sent = self._hub.send(one.session, message_of(one.command, now, one.session.features))
            except (ProtocolError, msgspec.ValidationError) as error:
                self._refuse(one.command, str(error))
                continue
            if not is_sent:
                unsent.setdefault(one.session.agent_id, []).append(one.command.id)
        if unsent:
            with unit_of_work() as session:
                for agent_id, command_ids in unsent.items():
                    recovery.release_sent(session, agent_id, command_ids)

    def _refuse(self, command: Command, reason: str) -> None:
        """A command that is no message of the protocol can never be sent."""
        log.error("command %s cannot be sent: %s", command.id, reason)
        with unit_of_work() as session:
            this = commands.find(session, command.id)
            if this is not None and this.state in LIVE:
                commands.close(session, this, "rejected", self._clock(), reason)


def _is_for_one_of(sessions: list[AgentSession]) -> ColumnElement[bool]:
    """What a command must be for one session to take it whole: its fixer, its feature, its address."""
    alike: dict[tuple[frozenset[str], frozenset[str], bool], list[int]] = {}
    for one in sessions:
        alike.setdefault((one.open_codes, one.features, one.is_spared), []).append(one.agent_id)
    return or_(
        *(
            and_(
                or_(Command.fixer_code.is_(None), Command.fixer_code.in_(sorted(codes))),
                or_(Command.feature.is_(None), Command.feature.in_(sorted(features))),
                _is_addressed_to(ids, is_spared=is_spared),
            )
            for (codes, features, is_spared), ids in alike.items()
        )
    )


def _is_addressed_to(agent_ids: list[int], *, is_spared: bool) -> ColumnElement[bool]:
    is_for_them = Command.agent_id.in_(agent_ids)
    if is_spared:
        return and_(Command.is_group_addressed.is_(False), is_for_them)
    return or_(Command.is_group_addressed, is_for_them)


def _reason_of(session: AgentSession) -> tuple[int, str]:
    """Return why a session is not what the database knows of its agent, as close code and words.

    A row that says neither connected nor revoked is of an agent whose later socket was lost: no reason to
    stop for good. Needs an application context.
    """
    wanted = select(Agent.revoked_at, Agent.token_hash, Agent.boot_id).where(Agent.id == session.agent_id)
    agent = db.session.execute(wanted).first()
    if agent is None or agent.revoked_at is not None or agent.token_hash != session.token_hash:
        return CLOSE_REVOKED, "the token was revoked"
    return reason_to_end(session, agent.boot_id)


def _close(session: AgentSession, code: int, words: str) -> None:
    if session.peer is not None:
        session.peer.close(code, words)


def _log_lost_presence(error: Exception) -> None:
    log.error("signs of life were not kept: %s", error)
