"""Errors of the agent. Every one has a message a person can read."""


class AgentError(Exception):
    """Something the agent cannot go on with."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class ConfigurationError(AgentError):
    """The configuration is wrong."""


class ProtocolError(AgentError):
    """A frame does not follow the protocol."""


class PortError(AgentError):
    """A production system did not give a usable answer; nothing is known of the effect."""


class LedgerRejectedError(AgentError):
    """The ledger refused the posting; nothing was posted."""


class InsufficientBalanceError(LedgerRejectedError):
    """The customer's balance does not cover the debit."""


class LegTakenError(LedgerRejectedError):
    """The trade already has an unreversed entry on this leg under another key."""


class EntryReversedError(LedgerRejectedError):
    """The entry is reversed already, under another key."""


class EntriesChangedError(AgentError):
    """The ledger holds an entry of the trade that was not looked at; nothing was posted."""


class EntryStandsError(AgentError):
    """The entry stands: nothing has reversed it, and nothing was asked to."""


class BankConflictError(AgentError):
    """The bank holds this request number with another amount or payee."""


class FencedError(AgentError):
    """A newer attempt owns this repair; this one must stop."""


class NumberTakenError(AgentError):
    """The number of the bank request is another trade's; nothing was written."""


class RequestsChangedError(AgentError):
    """Production holds other bank requests of the trade than were looked at; nothing was written."""


class StoodStillError(AgentError):
    """The agent stood still before an effect; nothing was done."""


class RowChangedError(AgentError):
    """The trade row is no longer what was read; someone else wrote it."""


class JournalError(AgentError):
    """The journal cannot be written; the agent refuses work until it can."""


class JournalInUseError(JournalError):
    """The journal is in use by another agent process."""


class StoppedError(AgentError):
    """The agent is leaving: the repair stops between two steps and is taken up again later."""
