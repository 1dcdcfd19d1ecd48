"""The processes of a schedule: that each starts, may end by itself, and that a kill takes all of it.

Nothing here imitates agent or server: the parts are theirs, wired as their own main programs wire them
(agent_process.py, server_process.py), with strands for threads and lanes for sockets.
"""

import logging
from typing import Final, Protocol

from chaos.simulation.loom import Killed, Loom

log: Final = logging.getLogger("chaos")


class Morgue(Protocol):
    """Who hears of processes that died by themselves."""

    killed: "list[Process]"


class Process:
    """Something that can be killed and started again. ``boots`` counts its lives."""

    def __init__(self, loom: Loom, name: str, morgue: Morgue) -> None:
        self.loom = loom
        self.name = name
        self.is_dead = True
        self.boots = 0
        self._morgue = morgue

    def start(self) -> None:
        """Begin a new life."""
        self.is_dead = False
        self.boots += 1
        self.loom.note(f"{self.name} starts ({self.boots})")
        self.loom.spawn(self, f"{self.name} boot", self._boot)

    def give_up(self, why: str) -> None:
        """End by itself; whatever watches over it starts it again."""
        self.loom.note(f"{self.name} ends by itself: {why}")
        self.is_dead = True
        self._morgue.killed.append(self)
        raise Killed

    def _boot(self) -> None:
        try:
            self._start()
        except Exception as error:
            # What its main program cannot go on with ends it.
            log.exception("%s cannot start", self.name)
            self.give_up(f"{type(error).__name__}: {error}")

    def kill(self) -> None:
        """kill -9: whatever was not written down is gone. Not called from a strand of its own."""
        self.is_dead = True
        self.loom.end(self)
        self.loom.note(f"{self.name} is dead")
        self._die()

    def _start(self) -> None: ...

    def _die(self) -> None: ...


class BankProcess(Process):
    """The bank: its books outlive it."""
