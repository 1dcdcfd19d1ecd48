"""What a seed stands for: the cases, parts and rates of its schedule, drawn before anything runs."""

import random
from dataclasses import dataclass, replace
from typing import Final

from chaos.simulation.people import ORDERS
from chaos.simulation.troubles import APART, TROUBLES
from chaos.simulation.workshop import BANK_DAY_SECONDS
from sandbox.cases import all_cases

ROUGH_SECONDS: Final = (60.0, 90.0, 150.0)
"""The first repairs are commanded after 60."""
CALM: Final = 0.04
"""How many of the schedules see no fault at all: there everything must be repaired."""
PAYING: Final = ("S2", "S3", "S7a", "S7b")
"""The cases in which the bank is asked to pay: half of the schedules are drawn from them."""
FAILED_BEFORE: Final = ("S7a", "S7b")
"""The cases whose payout the bank has failed: production itself may try once more."""
SHARE_APART: Final = 0.3
"""Of the schedules with such a case and troubles, those in which it does."""
LONG_BANK_DAY: Final = 10_800
"""So long that a request as old as the trades may still arrive."""


@dataclass(frozen=True)
class Draw:
    """What a schedule is made of. Rates are probabilities of a fault at each chance for one.

    ``is_echoing``: each Repair is sent a second time, long after. ``muted``: between these seconds no
    heartbeat of an agent arrives. ``refusals``: so many payouts the bank refuses for good. ``bank_day``: its
    length. ``failures``: so many of an hour trip the breaker of a plan or group; 0: none is armed.
    ``is_collected``: it is quiet until the trades are reported, so that the repairs meet the faults;
    ``is_unpaid``: until the bank has refused payouts so often that people may order of a trade, so that their
    orders do.
    """

    cases: tuple[str, ...]
    agents: int = 1
    servers: int = 1
    deduplicates: bool = True
    rough_seconds: float = 240.0
    point_rate: float = 0.0
    frame_rate: float = 0.0
    bank_rate: float = 0.0
    healthy: int = 2
    troubles: tuple[str, ...] = ()
    workers: int = 3
    is_echoing: bool = False
    muted: tuple[float, float] = (0.0, 0.0)
    refusals: int = 0
    bank_day: int = BANK_DAY_SECONDS
    failures: int = 0
    is_collected: bool = False
    is_unpaid: bool = False


def draw(seed: int) -> Draw:
    """Return what this seed stands for."""
    drawn = _draw(seed)
    chance = random.Random(f"apart {seed}")
    if set(drawn.cases).isdisjoint(FAILED_BEFORE) or not drawn.troubles:
        return drawn
    apart = tuple(kind for kind in sorted(APART) if chance.random() < SHARE_APART)
    return replace(drawn, troubles=drawn.troubles + apart)


def _draw(seed: int) -> Draw:
    chance = random.Random(f"draw {seed}")
    ids = [case.id for case in all_cases()]
    if chance.random() < CALM:
        return Draw(cases=tuple(chance.sample(ids, 3)), agents=2, rough_seconds=ROUGH_SECONDS[0])
    pool = ids if chance.random() < 0.5 else list(PAYING)
    drawn = Draw(
        cases=tuple(chance.sample(pool, chance.choice((1, 1, 2, 3)))),
        agents=chance.choice((1, 2)),
        servers=chance.choice((1, 1, 2)),
        deduplicates=chance.random() < 0.7,
        rough_seconds=chance.choice(ROUGH_SECONDS),
        point_rate=chance.choice((0.0, 0.01, 0.03, 0.08)),
        frame_rate=chance.choice((0.0, 0.05, 0.2)),
        bank_rate=chance.choice((0.0, 0.2, 0.6)),
        troubles=tuple(chance.sample(sorted(TROUBLES), chance.choice((0, 2, 4, 10)))),
        refusals=chance.choice((0, 0, 0, 0, 1, 5)),
        bank_day=chance.choice((BANK_DAY_SECONDS,) * 19 + (LONG_BANK_DAY,)),
        failures=chance.choice((0, 0, 1, 2)),
        is_collected=chance.random() < 0.7,
    )
    if not drawn.refusals or set(ORDERS.values()).isdisjoint(drawn.troubles):
        return drawn
    cases = drawn.cases if set(drawn.cases) & set(PAYING) else (chance.choice(PAYING), *drawn.cases[1:])
    return replace(drawn, cases=cases, refusals=chance.choice((0, 0, 1)), is_unpaid=True)
