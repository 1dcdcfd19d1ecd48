"""Troubles that machines make: processes die, an agent is lost, the network parts, a clock leaps."""

from typing import TYPE_CHECKING, Final

from app.agents.models import Command
from chaos.simulation.moments import at_command, wait_for_repair
from chaos.simulation.processes import Process

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

PARTED_SECONDS: Final = (5.0, 40.0, 100.0)
LEAPS: Final = (30.0, 100.0, 700.0, 4000.0)


def kill(schedule: "Schedule") -> None:
    """kill -9 of one process, or of two at once."""
    processes = [one for one in schedule.processes if not one.is_dead]
    for process in schedule.chance.sample(processes, min(len(processes), schedule.chance.choice((1, 1, 2)))):
        _end(schedule, process)


def lose(schedule: "Schedule") -> None:
    """One of two agents is gone for good, its journal too: the other goes on alone."""
    agents = schedule.agents
    if len(agents) == 2 and not schedule.lost and wait_for_repair(schedule):
        lost = schedule.chance.choice(agents)
        schedule.lost.append(lost)
        if not lost.is_dead:
            _end(schedule, lost)


def part(schedule: "Schedule") -> None:
    """Nobody reaches the server for a while; what is open is cut."""
    weather = schedule.weather
    weather.is_parted = True
    for server in schedule.servers:
        server.cut_all()
    schedule.loom.sleep(schedule.chance.choice(PARTED_SECONDS))
    weather.is_parted = False


def stall(schedule: "Schedule") -> None:
    """The clock leaps: a suspended machine, or a clock set right."""
    schedule.loom.leap(schedule.chance.choice(LEAPS))


def kill_collecting(schedule: "Schedule") -> None:
    """kill -9 of an agent that has a collection in hand."""
    at_command(schedule, Command.type == "Collect", lambda: _end(schedule, schedule.agents[0]))


def _end(schedule: "Schedule", process: Process) -> None:
    process.is_dead = True
    schedule.failer.killed.append(process)
