"""What can happen to a chunk of bytes on its way, drawn from a seed."""

import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """The kinds of fault. A drop takes bytes in, a stall takes none; a reset ends both."""

    REFUSE = "refuse"
    DELAY = "delay"
    DROP = "drop"
    DUPLICATE = "duplicate"
    TRUNCATE = "truncate"
    HALF_CLOSE = "half close"
    STALL = "stall"
    RESET = "reset"


@dataclass(frozen=True)
class WireFault:
    """One fault. ``share`` (0 to 1): how much of the chunk a truncation keeps or a duplicate repeats;
    ``seconds``: how long a delay takes, or a drop or stall until its reset.
    """

    kind: Kind
    share: float = 1.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Mix:
    """How often what happens: ``refused`` of all connections, ``chunks`` by kind of all chunks.

    A delay takes up to ``longest_delay_s``, a drop or stall up to ``longest_stall_s``.
    """

    refused: float = 0.0
    chunks: Mapping[Kind, float] = field(default_factory=dict)
    longest_delay_s: float = 0.3
    longest_stall_s: float = 4.0


Fate = Callable[[], WireFault | None]
"""Asked once a chunk: what befalls it, None for nothing."""


@dataclass(frozen=True)
class Fates:
    """What lies ahead of one connection: whether it is refused, then each chunk of either direction."""

    is_refused: bool
    up: Fate
    down: Fate


FatesOf = Callable[[int], Fates]
"""The fates of the nth connection, counted from 0."""


def seeded(seed: str, mix: Mix) -> FatesOf:
    """The same seed deals every connection and every chunk of it the same."""

    def fates_of(number: int) -> Fates:
        chance = random.Random(f"{seed}:{number}")
        return Fates(
            chance.random() < mix.refused,
            _fate(random.Random(f"{seed}:{number}:up"), mix),
            _fate(random.Random(f"{seed}:{number}:down"), mix),
        )

    return fates_of


def _fate(chance: random.Random, mix: Mix) -> Fate:
    def next_fault() -> WireFault | None:
        drawn, share, span = chance.random(), chance.random(), chance.random()
        for kind, odds in mix.chunks.items():
            if drawn < odds:
                return WireFault(kind, share, _seconds(kind, span, mix))
            drawn -= odds
        return None

    return next_fault


def _seconds(kind: Kind, span: float, mix: Mix) -> float:
    return span * (mix.longest_delay_s if kind is Kind.DELAY else mix.longest_stall_s)
