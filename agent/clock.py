"""The agent's own clock: for evidence and durations, never for a decision about a trade."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return this host's time, aware UTC."""
    return datetime.now(UTC)


def to_iso(moment: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC with milliseconds and ``Z``, as every frame carries it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """Read an ISO 8601 time with its zone. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)
