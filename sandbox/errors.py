"""Everything the sandbox refuses, under one root."""


class SandboxError(Exception):
    """The sandbox refused; the message is fit for a terminal."""


class SettingsError(SandboxError):
    """An environment variable or a file of the instance directory makes no sense."""


class LedgerError(SandboxError):
    """A posting was refused and its transaction rolled back."""


class InsufficientBalanceError(LedgerError):
    """The customer's account does not hold the amount."""


class LegTakenError(LedgerError):
    """An unreversed entry of this trade already holds the leg."""


class UnknownAccountError(LedgerError):
    """No such account, or it is not a customer's, or of another currency."""


class KeyReusedError(LedgerError):
    """The idempotency key belongs to an entry with other content."""


class RowChangedError(SandboxError):
    """Someone else has written the trade row meanwhile; it is not production's to write any more."""


class BankError(SandboxError):
    """The bank refused a call; nothing was stored."""


class RequestConflictError(BankError):
    """The request number is known with another amount, account, kind or currency."""


class DayStillOpenError(BankError):
    """A settlement file exists only for a closed bank day."""


class BankUnreachableError(BankError):
    """No usable answer: the caller does not know what the bank did."""
