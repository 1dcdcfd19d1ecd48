"""The machine of executions: ticks, clicks and their attempts, over agents that do what real ones may.

What production holds of each trade is kept beside the server, so that an agent tells of it what it could:
a fenced attempt does nothing, money that has moved stays moved, what is whole stays whole.
"""

from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from agent.answers import StepRecorded
from agent.protocol import Repair
from app.anomalies import service
from app.anomalies.models import Anomaly, AnomalyEvent
from app.executions.service import attempt_one, cancel_attempt, retry_now
from app.executions.starting import Order
from app.plans.service import disable_plan, enable_plan
from app.unit_of_work import WorkSession
from app.users import groups
from app.users.models import SystemGroup
from tests.app.machines.anomaly_watch import TERMINAL
from tests.app.machines.attempt_watch import AttemptWatch, Production
from tests.app.machines.pretender import Pretender, new_id
from tests.app.machines.server_machine import CODES, any_number, chosen, result_of, suite_settings
from tests.app.machines.stage import Stage
from tests.factories import PERSON, make_anomaly, make_plan, step

RETRIES: Final = st.integers(0, 2)
"""What a plan says of retries; attempts that fail may be one more (I7)."""
HARMLESS: Final = ("repaired", "failed", "unknown", "wait", "refused", "needs_human", "already_consistent")
HALF_DONE: Final = ("repaired", "unknown", "wait", "needs_human")
"""How an attempt may end once money has moved: never failed, never refused."""
LOOKS: Final = {
    "untouched": ("repair", "wait", "human", "missing", "error", "consistent"),
    "intended": ("resume", "wait", "error"),
    "moved": ("resume", "wait", "human", "error"),
    "whole": ("consistent",),
}
"""What a verification may find, by what production holds."""


class ExecutionMachine(AttemptWatch):
    """Two trades, the plan of one automatic and of the other manual."""

    @initialize(retries=st.tuples(RETRIES, RETRIES))
    def two_trades_are_broken(self, retries: tuple[int, int]) -> None:
        def work(session: WorkSession) -> list[str]:
            group = session.get_one(SystemGroup, self.group_id)
            by_click = {"mode": "manual", "next_due_at": None}
            self._plans = [
                make_plan(
                    session, group, fixer_code=code, retry_cron="0 0/2 * * * ?", max_retries=most, **columns
                ).id
                for code, most, columns in zip(CODES, retries, ({}, by_click), strict=True)
            ]
            made = [make_anomaly(session, group, fixer_code=code) for code in CODES]
            for anomaly in made:
                session.add(_first_event(anomaly))
            return [anomaly.trade_no for anomaly in made]

        made = zip(self.ask(work), retries, strict=True)
        self.production = {trade_no: Production(most) for trade_no, most in made}
        self.pass_time(1)

    # ---- agents

    @rule(pick=any_number, has_begun=st.booleans())
    @precondition(lambda self: self.in_hand("running"))
    def work_a_little(self, pick: int, has_begun: bool) -> None:
        """A step is written down in production, and told: before its effect, or after it."""
        agent, command_id = chosen(self.in_hand("running"), pick)
        order = agent.journal[command_id].command
        if not isinstance(order, Repair) or not self._may_act(agent, command_id):
            return
        trade = self.production[order.trade_no]
        if trade.money == "whole":
            return
        trade.becomes("moved" if has_begun or trade.money == "moved" else "intended")
        record = step(1, moves_money=True, state="done" if trade.money == "moved" else "intended")
        agent.hint(
            StepRecorded(
                id=new_id(), command_id=command_id, trade_no=order.trade_no, fence=order.fence, step=record
            )
        )

    @rule(pick=any_number, outcome=any_number)
    @precondition(lambda self: [*self.in_hand("taken"), *self.in_hand("running")])
    def finish(self, pick: int, outcome: int) -> None:
        agent, command_id = chosen([*self.in_hand("taken"), *self.in_hand("running")], pick)
        if agent.journal[command_id].state == "taken":
            agent.begin(command_id)
        self._finish(agent, command_id, outcome)

    @rule()
    def attempts_fail_until_the_next_tick(self) -> None:
        """What is in hand ends without an effect; two minutes later the plan is due again."""
        for agent, command_id in [*self.in_hand("taken"), *self.in_hand("running")]:
            if agent.journal[command_id].state == "taken":
                agent.begin(command_id)
            self._finish(agent, command_id, HARMLESS.index("failed"))
        self.pass_time(125)

    @rule(pick=any_number)
    @precondition(lambda self: self._to_stop_unbegun())
    def stop(self, pick: int) -> None:
        """A cancel stops what has not begun to move money, and only that."""
        agent, command_id = chosen(self._to_stop_unbegun(), pick)
        agent.stop(command_id)

    def _to_stop_unbegun(self) -> list[tuple[Pretender, str]]:
        return [
            (agent, one)
            for agent, one in self.to_stop()
            if self.production[agent.journal[one].command.trade_no].money == "untouched"  # type: ignore[union-attr]
        ]

    def _may_act(self, agent: Pretender, command_id: str) -> bool:
        """Claim the trade in production's own table: an older fence than it holds is refused."""
        order = agent.journal[command_id].command
        assert isinstance(order, Repair)
        trade = self.production[order.trade_no]
        if order.fence < trade.fence:
            return False
        trade.fence = order.fence
        return True

    def _finish(self, agent: Pretender, command_id: str, number: int, *, is_well: bool = False) -> None:
        order: Any = agent.journal[command_id].command
        trade = self.production[order.trade_no]
        if not isinstance(order, Repair):
            outcome = LOOKS[trade.money][0 if is_well else number % len(LOOKS[trade.money])]
            if outcome == "consistent":
                trade.becomes("whole")
            agent.finish(command_id, result_of(agent, command_id, outcome, fixer_code=None, reason=outcome))
            return
        if not self._may_act(agent, command_id):
            outcome = "refused"
        elif trade.money == "whole":
            outcome = "already_consistent"
        else:
            among = HARMLESS if trade.money in ("untouched", "intended") else HALF_DONE
            outcome = among[0 if is_well else number % len(among)]
            _settle(trade, outcome)
        has_moved = trade.money != "untouched"
        agent.finish(command_id, result_of(agent, command_id, outcome, money_moved=has_moved, reason=outcome))

    # ---- people

    @rule(pick=any_number, is_retry=st.booleans())
    def click(self, pick: int, is_retry: bool) -> None:
        act = retry_now if is_retry else attempt_one
        order = Order("click", PERSON, "the customer called", self.stage.clock())
        anomaly = chosen(self.anomalies(), pick)
        self.ask(lambda session: act(session, anomaly.id, order, group_ids=None).id)

    @rule(act=st.sampled_from([service.verify] * 7 + [service.ignore]), pick=any_number)
    def a_person_decides(self, act: Any, pick: int) -> None:
        anomaly = chosen(self.anomalies(), pick)
        self.ask(lambda session: act(session, anomaly.id, **self._by_person()))

    @rule(pick=any_number)
    @precondition(lambda self: self.attempts())
    def cancel_an_attempt(self, pick: int) -> None:
        attempt = chosen(self.attempts(), pick)
        self.ask(lambda session: cancel_attempt(session, attempt.id, **self._by_person()))

    @rule(pick=st.integers(0, 1), is_enabled=st.sampled_from([True, True, False]))
    def change_a_plan(self, pick: int, is_enabled: bool) -> None:
        act = enable_plan if is_enabled else disable_plan
        self.ask(lambda session: act(session, self._plans[pick], **self._by_person()))

    @rule(is_enabled=st.sampled_from([True, True, False]))
    def change_the_group(self, is_enabled: bool) -> None:
        now = self.stage.clock()

        def work(session: WorkSession) -> None:
            group = session.get_one(SystemGroup, self.group_id)
            kept = {"name": group.name, "zone": group.zone, "trade_table": "T"}
            groups.update_group(
                session, group, actor=PERSON, is_enabled=is_enabled, reason="r", now=now, **kept
            )

        self.ask(work)

    def _by_person(self) -> dict[str, Any]:
        return {"reason": "seen", "actor": PERSON, "group_ids": None, "now": self.stage.clock()}

    # ---- the end

    def teardown(self) -> None:
        """Once the faults stop and agents do their work, all ends or waits for a person (I8)."""
        self.heal(125, self._work_all, self._is_over)

    def _work_all(self, agent: Pretender) -> None:
        for command_id in agent.unfinished("taken"):
            agent.begin(command_id)
        for command_id in agent.unfinished("running"):
            self._finish(agent, command_id, 0, is_well=True)

    def _is_over(self) -> bool:
        return not self.live_commands() and all(
            anomaly.state in (*TERMINAL, "exhausted", "needs_human") or self._waits_for_a_person(anomaly)
            for anomaly in self.anomalies()
        )

    def _waits_for_a_person(self, anomaly: Any) -> bool:
        """Where its plan repairs nothing by itself, or not without a first click."""
        (plan,) = self.stage.rows("SELECT * FROM plan WHERE fixer_code = :code", code=anomaly.fixer_code)
        ((is_enabled,),) = self.stage.rows("SELECT is_enabled FROM system_group")
        is_off = plan.state == "disabled" or not is_enabled
        is_clicked = plan.mode == "manual" and not anomaly.has_moved_money
        return anomaly.state in ("open", "waiting") and (is_off or is_clicked)


def _settle(trade: Production, outcome: str) -> None:
    """What an attempt that ends so leaves in production."""
    if outcome in ("repaired", "already_consistent"):
        trade.becomes("whole")
    elif outcome in ("failed", "refused") or (outcome == "needs_human" and trade.money == "intended"):
        trade.becomes("untouched")


def _first_event(anomaly: Anomaly) -> AnomalyEvent:
    return AnomalyEvent(
        anomaly_id=anomaly.id,
        at=anomaly.first_seen_at,
        from_state=None,
        to_state=anomaly.state,
        code="reported",
        reason="",
        actor_name="system",
    )


def test_whatever_happens_to_executions_they_keep_to_their_states(
    tmp_path: Path, migrated_database: Path
) -> None:
    """I4, I6, I7, I8, I12: attempts overtaken, lost, late, cancelled, clicked, of plans turned off and on."""
    ExecutionMachine.stage = Stage(tmp_path, migrated_database)
    with ExecutionMachine.stage.curtain():
        run_state_machine_as_test(ExecutionMachine, settings=suite_settings)
