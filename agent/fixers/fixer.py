"""What a fixer is: a code, the rows it looks after, and its steps in order."""

from collections.abc import Callable

import msgspec

from agent.decision import Decision, decide
from agent.errors import ConfigurationError
from agent.facts import Facts
from agent.records import Pattern


class Fixer(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of repair.

    ``code`` is the name plans use, its first character lower-case. ``patterns`` are the rows it may concern,
    pushed down to SQL. ``steps`` names the steps of agent.fixers.plan in order; pure. ``diagnose``
    decides what is to be done; the built-in fixers all share the one decision table.
    """

    code: str
    patterns: tuple[Pattern, ...]
    steps: Callable[[Facts], tuple[str, ...]]
    diagnose: Callable[[Facts], Decision] = decide


def index_by_code(*fixers: Fixer) -> dict[str, Fixer]:
    """Return the fixers by code, in the order given. Raises ConfigurationError on a bad or repeated code."""
    registry: dict[str, Fixer] = {}
    for fixer in fixers:
        if not fixer.code[:1].islower():
            raise ConfigurationError(f"fixer code {fixer.code!r} must start with a lower-case letter")
        if fixer.code in registry:
            raise ConfigurationError(f"fixer code {fixer.code} is registered twice")
        registry[fixer.code] = fixer
    return registry
