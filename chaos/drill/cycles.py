"""The drill itself: wait until something happens, kill what the seed says, start it again.

Production works on some of the trades meanwhile.
"""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from chaos.drill.field import Field
from chaos.drill.people import reset_tripped
from chaos.drill.production import SHARE, touch_one
from chaos.drill.terms import AGENTS
from chaos.drill.watching import Watch
from chaos.drill.waves import Planted, keep_busy, note_before

VICTIMS: Final = (
    (("pbap-1",), 5),
    (("pbap-2",), 4),
    (("server",), 4),
    (("bank",), 2),
    (AGENTS, 1),
    (("pbap-1", "server"), 2),
    (("pbap-2", "bank"), 1),
    (("server", "bank"), 1),
)
"""Who is killed at once, and how often among all."""
WORKERS_SHARE: Final = 0.3
"""Of the cycles of agents whose workers are processes, in which one of these is killed and nothing else."""
PROGRESS_SECONDS: Final = 20.0
LONGEST_MOMENT_S: Final = 1.2
"""The kill comes at a moment drawn from so long after the progress that was waited for."""


@dataclass
class Course:
    """What the cycles have done. ``idle``: cycles in which nothing happened before the kill.

    ``production``: what became of its own work on trades to be repaired.
    """

    planted: Planted = field(default_factory=Planted)
    cycles: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    production: Counter[str] = field(default_factory=Counter)
    idle: int = 0
    ended_alone: list[str] = field(default_factory=list)


def run_cycles(at: Field, watch: Watch, told: Callable[[str], None]) -> Course:
    """Kill and start again as often as asked for."""
    course, chance = Course(), random.Random(f"{at.terms.seed}:cycles")
    of_production = random.Random(f"{at.terms.seed}:production")
    note_before(at.world, course.planted)
    for number in range(at.terms.cycles):
        with at.app.app_context():
            reset_tripped()
        keep_busy(at, course.planted)
        before = watch.progress()
        if not watch.wait_until(lambda seen=before: watch.progress() != seen, PROGRESS_SECONDS):  # type: ignore[misc]
            course.idle += 1
        if of_production.random() < SHARE:
            with closing(at.bank()) as bank:
                done = touch_one(at.world, course.planted, watch.open_repairs(), of_production, bank)
            course.production.update([done] if done else [])
        watch.pass_time(chance.random() * LONGEST_MOMENT_S)
        at.weigh()
        if at.terms.pool == "processes" and chance.random() < WORKERS_SHARE:
            course.kills["worker"] += chance.choice(at.agents).kill_worker(chance)
            course.cycles += 1
            told(f"cycle {number + 1}: killed a worker")
            continue
        names = chance.choices([one for one, _ in VICTIMS], [weight for _, weight in VICTIMS])[0]
        _kill_and_start(at, watch, course, names, _pause(chance))
        course.cycles += 1
        told(f"cycle {number + 1}: killed {' and '.join(names)}")
    return course


def _pause(chance: random.Random) -> float:
    """Seconds until the killed are started again: most at once, some after their leases have ended."""
    kind = chance.random()
    if kind < 0.6:
        return 0.0
    return chance.uniform(0, 2) if kind < 0.9 else chance.uniform(5, 8)


def _kill_and_start(at: Field, watch: Watch, course: Course, names: tuple[str, ...], pause: float) -> None:
    for part in at.parts:
        code = part.revive()
        if code is not None:
            course.ended_alone.append(f"{part.name} ended by itself with exit code {code}")
    victims = [at.part(name) for name in names]
    for part in victims:
        watch.give_up(part)
        part.kill()
        course.kills[part.kind] += 1
    held = {part.name: watch.in_hand(part) for part in victims if part.kind == "agent"}
    watch.pass_time(pause)
    for part in victims:
        at.start(part)
        if part.name in held:
            watch.expect(part, held[part.name])
