"""What the agent does with each message: journal first, then Ack, then the work, then a durable result."""

import logging
from collections.abc import Callable
from typing import Final, assert_never

import msgspec

from agent import clock
from agent.answers import Started, sendable
from agent.envelope import new_id, rejected
from agent.errors import AgentError, JournalError
from agent.jobs import describe
from agent.journal import Journal
from agent.message import Message
from agent.orders import Entry, command_id_of, key_of, without_hints
from agent.outbox import Outbox
from agent.protocol import (
    FEATURES,
    REFUSED_FOR_GOOD,
    Ack,
    AgentLimits,
    Cancel,
    Collect,
    Command,
    Heartbeat,
    Hello,
    Log,
    Rejected,
    Repair,
    ToAgent,
    Verify,
    Welcome,
)
from agent.runner import Runner

log: Final = logging.getLogger("agent.commands")

MAX_IN_HAND: Final = 256
"""Commands accepted and not finished; more are refused, the server keeps at most 32 repairs in flight."""
JOURNAL_UNREADABLE: Final = -1
WORTH_TELLING: Final = 5
"""After so many failures over one message it is no accident."""
STOPPED: Final = "stopped"
"""The code of a refusal while the agent's own stop stands."""
MOST_STARTS: Final = 5
"""After so many starts that found the same work begun and not ended, it is what ends the agent."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this agent is. ``boot_id`` changes with each start: random, made in memory, kept in no file.

    ``limits``: what its configuration lets it do at most, None for a stand-in that has none to tell.
    """

    name: str
    boot_id: str
    version: str
    host: str
    limits: AgentLimits | None = None


class Dispatcher:
    """The session behind the connection: takes the server's messages and answers them.

    Called by the connection's thread only. ``hint`` sends a message that may be lost. ``stopped`` says why
    no repair is taken, None while repairs are.
    """

    def __init__(
        self,
        identity: Identity,
        journal: Journal,
        outbox: Outbox,
        runner: Runner,
        fixer_codes: tuple[str, ...],
        hint: Callable[[Message], None],
        stopped: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._identity = identity
        self._journal = journal
        self._outbox = outbox
        self._runner = runner
        self._fixer_codes = fixer_codes
        self._hint = hint
        self._stopped = stopped

    # ---- the session's side

    def hello(self) -> Hello:
        """Return the first frame of a session."""
        return Hello(
            id=new_id(),
            name=self._identity.name,
            boot_id=self._identity.boot_id,
            journal_id=self._journal.journal_id,
            version=self._identity.version,
            host=self._identity.host,
            fixer_codes=self._fixer_codes,
            unfinished=self._runner.in_hand(),
            features=FEATURES,
            stopped=self._stopped(),
            limits=self._identity.limits,
            agent_time=clock.to_iso(clock.now()),
        )

    def heartbeat(self) -> Heartbeat:
        """Return the sign of life, which renews the leases of what is at work; also retries the journal."""
        self._runner.leave_late()
        length = JOURNAL_UNREADABLE
        try:
            self._outbox.retry()
            length = self._journal.outbox_length()
        except JournalError as error:
            self._complain(error)
        return Heartbeat(
            id=new_id(),
            running=self._runner.at_work(),
            journal_length=length,
            stopped=self._stopped(),
            agent_time=clock.to_iso(clock.now()),
        )

    def is_urgent(self) -> bool:
        """Whether a repair of an earlier start waits for the server's word."""
        return self._runner.is_awaiting()

    def handle(self, *messages: ToAgent) -> None:
        """Take messages of the server in their order; new orders among them share one journal write."""
        new: list[Command] = []
        try:
            for message in messages:
                if isinstance(message, Ack):
                    self._outbox.acknowledge(message.of)
                elif isinstance(message, Rejected):
                    self._drop(message)
                elif not self._runner.is_stopping:
                    self._obey(message, new)
                # else unanswered: the server sends it again, to whoever is there then
        finally:  # what came before a message that ends the session
            self._receive(new)

    def _obey(self, message: Welcome | Cancel | Command, new: list[Command]) -> None:
        """``new``: orders before it that the journal does not hold yet."""
        try:
            match message:
                case Welcome():
                    self._hint(rejected(message.id, "state", "a session has one Welcome, its first frame"))
                case Cancel():
                    self._receive(new)
                    self._cancel(message)
                case Collect() | Repair() | Verify():
                    self._take(message, new)
                case _:
                    assert_never(message)
        except JournalError as error:
            self._unable(message, error)

    # ---- life

    def resume(self) -> None:
        """Take up what an earlier start left unfinished; what ends the agent each time is given up.

        A repair waits until the server sends it again, which may have given it up or to another meanwhile.
        Raises JournalError.
        """
        for entry in self._journal.take_up():
            if entry.starts > MOST_STARTS:
                log.error("%s ended the agent %d times: given up", describe(entry.command), entry.starts)
                self._runner.give_up(entry)
                continue
            if isinstance(entry.command, Collect):
                self._outbox.discard(command_id_of(entry.command))
            log.info("taking up %s again", describe(entry.command))
            self._runner.submit(entry, self._identity.boot_id, is_resumed=True)

    # ---- commands

    def _take(self, command: Command, new: list[Command]) -> None:
        if command_id_of(command) in map(command_id_of, new):
            self._receive(new)
        entry = self._journal.find(command_id_of(command))
        fence = key_of(command)[1]
        if entry is not None and key_of(entry.command)[1] >= fence:
            self._take_again(command, entry)
            return
        if (refusal := self._refusal(command, len(new))) is not None:
            code, reason = refusal
            log.warning("refused %s: %s", describe(command), reason)
            self._hint(rejected(command.id, code, reason, command_id_of(command)))
            return
        self._drop_older(command)
        new.append(command)

    def _receive(self, new: list[Command]) -> None:
        """Journal new orders in one write, then acknowledge and queue each; none of them is new any more.

        Where they cannot be kept together, each is kept or refused by itself.
        """
        orders = tuple(new)
        new.clear()
        if not orders:
            return
        try:
            entries = self._journal.receive_all(orders, self._identity.boot_id)
        except JournalError as error:
            if len(orders) == 1:
                self._unable(orders[0], error)
                return
            for order in orders:
                self._receive([order])
            return
        for entry in entries:
            self._acknowledge(entry.command.id, command_id_of(entry.command))
            self._runner.submit(entry, self._identity.boot_id, is_resumed=False)

    def _drop_older(self, command: Command) -> None:
        """Forget older orders of the command that still wait; one that has begun ends by itself, fenced."""
        for key in self._runner.drop_older(*key_of(command)):
            self._journal.supersede(key)

    def _take_again(self, command: Command, entry: Entry) -> None:
        """Answer a duplicate from the journal; it is not run again, but a repair that waits goes on at it."""
        command_id = command_id_of(command)
        if _essence(command) != _essence(entry.command):
            reason = "this id stands for another command here, or for a newer fence of it"
            self._hint(rejected(command.id, "conflict", reason, command_id))
            return
        self._acknowledge(command.id, command_id)
        if entry.state == "finished":
            self._outbox.repeat(entry)
            return
        if isinstance(command, Repair) and self._runner.go_on(command):
            self._drop_older(command)
            return
        # A collection's Started stands for its beginning, at which the server forgets the chunks it has.
        if self._runner.is_running(key_of(entry.command)) and not isinstance(command, Collect):
            self._hint(Started(id=new_id(), command_id=command_id))

    def _refusal(self, command: Command, about_to_be: int) -> tuple[str, str] | None:
        """``about_to_be``: orders that are as good as in hand."""
        if len(self._runner.in_hand()) + about_to_be >= MAX_IN_HAND:
            return "busy", f"{MAX_IN_HAND} commands are in hand"
        asked: tuple[str, ...] = ()
        if isinstance(command, Repair):
            asked = (command.fixer_code,)
            if (why := self._stopped()) is not None:
                return STOPPED, why
        elif isinstance(command, Collect):
            asked = command.fixer_codes
        if unknown := [code for code in asked if code not in self._fixer_codes]:
            return "fixer", f"this agent does not offer {', '.join(unknown)}"
        return _range_refusal(command) if isinstance(command, Collect) else None

    def _cancel(self, cancel: Cancel) -> None:
        entry = self._journal.find(cancel.command_id or "")
        if entry is None:
            self._hint(rejected(cancel.id, "unknown_command", "no such command here", cancel.command_id))
            return
        key, reason = key_of(entry.command), sendable(cancel.reason) or "cancelled"
        if entry.state == "finished":
            self._acknowledge(cancel.id, key[0])
            self._outbox.repeat(entry)
            return
        self._journal.cancel(key, reason)
        self._acknowledge(cancel.id, key[0])
        self._runner.cancel(key, reason)

    # ---- small answers

    def _acknowledge(self, message_id: str, command_id: str) -> None:
        self._hint(Ack(id=new_id(), command_id=command_id, of=message_id))

    def _drop(self, message: Rejected) -> None:
        """Forget a message the server can never take; one it was refused for anything else is sent again."""
        log.warning("the server refused %s: %s (%s)", message.of or "a frame", message.reason, message.code)
        if message.of is None:
            return
        if message.code in REFUSED_FOR_GOOD:
            self._outbox.acknowledge(message.of)
        elif self._outbox.try_again(message.of) == WORTH_TELLING:
            self._complain(AgentError(f"the server fails over message {message.of} again and again"))

    def _unable(self, message: Welcome | Cancel | Command, error: JournalError) -> None:
        """Refuse what the journal could not be read or written for: the server sends it again."""
        self._complain(error)
        self._hint(rejected(message.id, "journal", str(error), message.command_id))

    def _complain(self, error: Exception) -> None:
        log.error("%s", error)
        self._hint(Log(id=new_id(), level="error", text=str(error)))


def _essence(command: Command) -> Command:
    """A command without what differs each time it is sent: its frame's id and the time left.

    Nor with what is only told to an agent that names the feature, as it may not have when it took the order.
    """
    return without_hints(msgspec.structs.replace(command, id="", deadline_ms=0))


def _range_refusal(command: Collect) -> tuple[str, str] | None:
    if not 0 <= command.shard < command.shards:
        return "shard", f"there is no shard {command.shard} of {command.shards}"
    try:
        start, end = clock.from_iso(command.window_start), clock.from_iso(command.window_end)
    except ValueError as error:
        return "window", f"the window cannot be read: {error}"
    return None if start < end else ("window", "the window ends before it begins")
