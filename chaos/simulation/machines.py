"""Troubles that machines make: processes die, an agent is lost, the network parts, a clock leaps."""

from typing import TYPE_CHECKING, Final

from app.agents.models import Command
from chaos.simulation.moments import at_command, holder_of, wait_long_for_repair
from chaos.simulation.processes import Process

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

PARTED_SECONDS: Final = (5.0, 40.0, 100.0)
LEAPS: Final = (30.0, 100.0, 700.0, 4000.0)
PAUSES: Final = (20.0, 40.0, 100.0, 700.0)
"""A machine that is paused for longer than a schedule heals is lost."""
UNREAD_SECONDS: Final = 100.0


def kill(schedule: "Schedule") -> None:
    """kill -9 of one process, or of two at once."""
    processes = [one for one in schedule.processes if not one.is_dead]
    schedule.counts["kill at random"] += bool(processes)
    for process in schedule.chance.sample(processes, min(len(processes), schedule.chance.choice((1, 1, 2)))):
        _end(schedule, process)


def lose(schedule: "Schedule") -> None:
    """One of two agents is gone for good, its journal too: the other goes on alone."""
    agents = schedule.agents
    if len(agents) == 2 and not schedule.lost and wait_long_for_repair(schedule):
        lost = schedule.chance.choice(agents)
        schedule.lost.append(lost)
        schedule.counts["agent lost"] += 1
        if not lost.is_dead:
            _end(schedule, lost)


def part(schedule: "Schedule") -> None:
    """Nobody reaches the server for a while; what is open is cut."""
    weather = schedule.weather
    weather.is_parted = True
    schedule.counts["network parted"] += 1
    for server in schedule.servers:
        server.cut_all()
    schedule.loom.sleep(schedule.chance.choice(PARTED_SECONDS))
    weather.is_parted = False


def stall(schedule: "Schedule") -> None:
    """The clock leaps: all is suspended, or a clock set right. Or one agent's machine is paused."""
    if schedule.chance.random() < 0.5:
        schedule.counts["machine stalled"] += 1
        schedule.loom.leap(schedule.chance.choice(LEAPS))
    else:
        pause(schedule)


def pause(schedule: "Schedule") -> None:
    """The machine of an agent is paused amid its repair and its clock stands still with it; others go on."""
    trade_no = wait_long_for_repair(schedule, "AND step.state = 'intended'")
    if not trade_no:
        return
    holder, seconds = holder_of(schedule, trade_no), schedule.chance.choice(PAUSES)
    for agent in schedule.agents:
        if agent.name == holder:
            agent.pause(seconds)
            schedule.counts["machine paused"] += 1
    schedule.failer.wakes_at = max(schedule.failer.wakes_at, schedule.loom.seconds + seconds)


def leave_unread(schedule: "Schedule") -> None:
    """Amid a repair the servers read nothing of any agent for longer than a lease, then all of it at once."""
    if not wait_long_for_repair(schedule):
        return
    schedule.counts["server reads no further"] += 1
    up = [server for server in schedule.servers if not server.is_dead]
    peers = [one.peer for server in up for one in server.hub.sessions() if one.peer is not None]
    for peer in peers:
        peer.pause()
    schedule.loom.sleep(UNREAD_SECONDS)
    for peer in peers:
        peer.resume()


def kill_collecting(schedule: "Schedule") -> None:
    """kill -9 of an agent that has a collection in hand."""
    at_command(schedule, Command.type == "Collect", lambda: _end(schedule, schedule.agents[0]))


def _end(schedule: "Schedule", process: Process) -> None:
    process.is_dead = True
    schedule.failer.killed.append(process)
