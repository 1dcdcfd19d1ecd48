"""An agent process whose one repair waits between two steps until a test lets it go on.

``python -m tests.fakes.slow_agent PORT JOURNAL GATE``: GATE is a named pipe that the repair reads to its end.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent import log
from agent.answers import FactsRead, RepairFinished, ReportedTrade, StepRecord
from agent.commands import Dispatcher, Identity
from agent.connection import Link, LinkSettings
from agent.envelope import new_id
from agent.errors import PortError
from agent.jobs import Progress
from agent.journal import Journal
from agent.orders import Holder
from agent.outbox import Outbox
from agent.pacing import Waker
from agent.ports import Cancellation
from agent.protocol import Collect, Repair, Verify
from agent.runner import Runner
from agent.service import Service

CODES = ("interRecharge",)


class SlowWork:
    """One step before the gate, one behind it."""

    fixer_codes = CODES

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def collect(
        self, command: Collect, progress: Progress, cancellation: Cancellation
    ) -> Iterator[Sequence[ReportedTrade]]:
        return iter(())

    def leave(self, command: Repair, command_id: str, holder: Holder, reason: str) -> RepairFinished:
        raise PortError("there is nothing to look at")

    def verify(self, command: Verify, command_id: str) -> FactsRead:
        return FactsRead(
            id="read",
            command_id=command_id,
            trade_no=command.trade_no,
            outcome="missing",
            fixer_code=None,
            reason="",
            row=None,
            row_hash="",
            facts=None,
        )

    def repair(
        self,
        command: Repair,
        command_id: str,
        holder: Holder,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
    ) -> RepairFinished:
        steps = []
        for seq, name in enumerate(("post_first", "write_row"), 1):
            for state in ("intended", "done"):
                step = StepRecord(seq=seq, name=name, key=name, state=state, started_at="")
                note(step)
                if (seq, state) == (1, "intended"):
                    self._gate.read_bytes()
            steps.append(step)
        return RepairFinished(
            id=f"finished-{command_id}",
            command_id=command_id,
            trade_no=command.trade_no,
            fence=command.fence,
            outcome="repaired",
            reason="",
            is_confirmed_failed=False,
            money_moved=True,
            before=None,
            after=None,
            facts_before=None,
            facts_after=None,
            steps=tuple(steps),
            row_hash="",
            started_at="",
            duration_ms=0,
        )


def main(port: str, journal_path: str, gate: str) -> int:
    """Put an agent together around SlowWork and run it."""
    log.set_up()
    journal, waker, work = Journal(journal_path), Waker(), SlowWork(Path(gate))
    outbox = Outbox(journal, waker)
    link = Link(LinkSettings(url=f"ws://127.0.0.1:{port}/agent", token="t"), outbox, waker)
    runner = Runner(journal, outbox, work, link.hint, link.is_live)
    identity = Identity(name="slow", boot_id=new_id(), version="0", host="h")
    dispatcher = Dispatcher(identity, journal, outbox, runner, CODES, link.hint)
    return Service(journal, outbox, link, runner, dispatcher).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
