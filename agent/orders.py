"""Orders: a command as the agent keeps it, and the key it goes by."""

import msgspec

from agent.protocol import Collect, Command, Repair

Key = tuple[str, int]
"""A command's id and the fence of this order of it (0 where there is none): a repair whose lease ran out is
ordered again under the same id with a higher fence, and that is new work."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A command as the journal holds it.

    ``boot_id`` is the start of the agent that accepted it, ``taken_up_by`` are those that went on with it,
    ``received_at`` seconds since 1970 by this host's clock, ``cancel_reason`` is set once a cancel was asked,
    ``result_id`` and ``result`` (a frame) at last. ``starts`` counts the starts of the agent that found
    work on it begun and not ended.
    """

    command: Command
    boot_id: str
    state: str
    received_at: float
    cancel_reason: str | None = None
    result_id: str | None = None
    result: bytes | None = None
    starts: int = 0
    taken_up_by: tuple[str, ...] = ()


class Holder(msgspec.Struct, frozen=True):
    """Who carries an order out. ``boot_id`` names this start of the agent: made in its memory, never read
    from the journal, so that of two copies of a journal each claims under a name of its own.

    ``former`` are the earlier starts that had the order, as this journal says: from one of these, and from no
    other, its claim may be taken over under the same fence. ``given_at``: when the server gave this start the
    order, in seconds of the monotonic clock.
    """

    boot_id: str
    former: tuple[str, ...] = ()
    given_at: float | None = None


def without_hints(command: Command) -> Command:
    """Return a command without what is only told to an agent that names the feature, and changes no effect of
    the order: an agent of before the feature can read it.
    """
    if not isinstance(command, Repair):
        return command
    return msgspec.structs.replace(command, by_person=msgspec.UNSET, max_amount_minor=msgspec.UNSET)


def command_id_of(command: Command) -> str:
    """Return the identity of a command: ``command_id``, or the frame's own id where that is left out."""
    return command.command_id or command.id


def key_of(command: Command) -> Key:
    """Return the key under which the journal holds this order."""
    return command_id_of(command), 0 if isinstance(command, Collect) else command.fence
