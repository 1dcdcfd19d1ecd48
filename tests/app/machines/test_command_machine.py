"""The machine of commands: issued, sent, held, lost, taken over, cancelled, ended by time, answered."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from app.agents import commands
from app.agents.models import LIVE
from app.executions import scheduler
from app.unit_of_work import WorkSession
from tests.app.machines.pretender import Pretender
from tests.app.machines.server_machine import (
    CODES,
    ServerMachine,
    any_number,
    chosen,
    result_of,
    suite_settings,
)
from tests.app.machines.stage import Stage

TRADES = ("T1", "T2")
LONGEST_DEADLINE = 3_600


class CommandMachine(ServerMachine):
    """Bare commands of two trades: what features make of them is for the other machines."""

    @initialize()
    def both_trades_are_to_be_repaired(self) -> None:
        for trade_no in TRADES:
            self._issue(trade_no, "Repair", LONGEST_DEADLINE, 0)

    @rule(
        trade_no=st.sampled_from(TRADES),
        type=st.sampled_from(["Repair", "Repair", "Verify"]),
        deadline=st.sampled_from([5, 300, LONGEST_DEADLINE]),
        priority=st.integers(0, 3),
    )
    def issue(self, trade_no: str, type: str, deadline: int, priority: int) -> None:
        is_busy = bool(self._live_of(trade_no))
        issued = self._issue(trade_no, type, deadline, priority)
        assert (issued == "trade_busy") == is_busy

    def _issue(self, trade_no: str, type: str, deadline: int, priority: int) -> Any:
        message: dict[str, Any] = {"trade_no": trade_no}
        if type == "Repair":
            message |= {"fixer_code": CODES[0], "row_hash": "hash"}
        now = self.stage.clock()

        def work(session: WorkSession) -> str:
            return commands.issue(
                session,
                type=type,
                group_id=self.group_id,
                message=message,
                deadline=timedelta(seconds=deadline),
                now=now,
                trade_no=trade_no,
                fixer_code=CODES[0] if type == "Repair" else None,
                priority=priority,
            ).id

        return self.ask(work)

    def _live_of(self, trade_no: str) -> list[Any]:
        live = f"SELECT id FROM command WHERE trade_no = :trade_no AND state IN {LIVE}"
        return self.stage.rows(live, trade_no=trade_no)

    @rule(pick=any_number)
    @precondition(lambda self: self.in_hand("running"))
    def lose_what_runs_for_longer_than_its_lease(self, pick: int) -> None:
        """Its agent goes on working; the server gives the command to the other one."""
        agent, _ = chosen(self.in_hand("running"), pick)
        agent.hang_up()
        agent.is_deaf = True
        for _ in range(2):
            self.stage.clock.advance(61)
            self.stage.dispatch()
            self.do_what_is_due()
        self.life_goes_on()
        agent.come_back()

    @rule(pick=any_number)
    @precondition(lambda self: self.in_hand("running"))
    def finish(self, pick: int) -> None:
        """Its result counts where this agent holds the command under this fence, and changes nothing else."""
        agent, command_id = chosen(self.in_hand("running"), pick)
        before, is_there = self._row(command_id), agent.is_there
        fence = agent.journal[command_id].fence
        _finish(agent, command_id)
        after = self._row(command_id)
        is_current = before.agent_id == agent.id and (before.type != "Repair" or before.fence == fence)
        may_end = before.state in (*LIVE, "indeterminate")
        if is_there and is_current and may_end:
            assert after.state == "finished"
        else:
            assert after == before

    def _row(self, command_id: str) -> Any:
        (row,) = self.stage.rows("SELECT * FROM command WHERE id = :id", id=command_id)
        return row

    def teardown(self) -> None:
        """Once the faults stop, every command ends within its deadline and a little more (I8)."""
        self.heal(61, _work_all, lambda: not self.live_commands())

    def do_what_is_due(self) -> None:
        """What the scheduler does with commands alone."""
        scheduler.sweep_commands(self.stage.clock())


def _finish(agent: Pretender, command_id: str) -> None:
    agent.finish(command_id, result_of(agent, command_id, "wait"))


def _work_all(agent: Pretender) -> None:
    for command_id in agent.unfinished("taken"):
        agent.begin(command_id)
    for command_id in agent.unfinished("running"):
        _finish(agent, command_id)


def test_whatever_happens_to_commands_they_keep_to_their_states(
    tmp_path: Path, migrated_database: Path
) -> None:
    """I6, I8, and one live command a trade: two agents, a server, and all that befalls them."""
    CommandMachine.stage = Stage(tmp_path, migrated_database)
    with CommandMachine.stage.curtain():
        run_state_machine_as_test(CommandMachine, settings=suite_settings)
