"""Bulk repairs under any order of results, losses, seconds and people: what must hold after every step."""

from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from app.agents import commands
from app.agents.models import LIVE, Agent, Command
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter
from app.errors import ConflictError
from app.executions import bulk, bulk_course, bulk_endings, results, verifications
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.starting import Order
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from tests.factories import (
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    make_user,
)

WINDOW = 5
WELL = ("repaired", "repaired", "repaired", "already_consistent")
ILL = ("failed", "unknown", "wait", "refused", "needs_human")
VERIFIED = ("consistent", "consistent", "consistent", "wait", "error", "human", "repair")


class DiscardedError(Exception):
    """Rolls an example's rows back."""


class BulkMachine(RuleBasedStateMachine):
    """One bulk repair, what agents and people do to it, and the seconds that pass."""

    def __init__(self) -> None:
        super().__init__()
        self._work = unit_of_work()
        self.session = self._work.__enter__()
        self.now: datetime = NOW
        make_user(self.session)
        group = make_group(self.session)
        self.agent: Agent = make_agent(self.session, group)
        self.plan: Plan = make_plan(self.session, group)
        self.ended_as = ""

    def teardown(self) -> None:
        try:
            if hasattr(self, "bulk_id"):
                self._come_to_its_end()
        finally:
            with suppress(DiscardedError):
                self._work.__exit__(DiscardedError, DiscardedError(), None)

    @initialize(count=st.integers(2, 30))
    def begin(self, count: int) -> None:
        group = self.plan.group
        for _each in range(count):
            make_anomaly(self.session, group)
        order = Order("click", PERSON, "all of them", self.now)
        (one,) = bulk.begin(self.session, AnomalyFilter(), order).bulks
        self.bulk_id = one.id

    # ---- what happens

    @rule(seconds=st.sampled_from((1, 1, 1, 31, 600)))
    def a_second_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        before, failed, repairs = self.bulk.state, self.bulk.failed, self._repairs()
        bulk_course.tend(self.session, self.bulk_id, self.now)
        one = self.bulk
        if before != "running":
            assert self._repairs() == repairs
        if before == "running" and one.failed > failed and one.pending:
            assert one.state == "paused"
            assert self._repairs() == repairs

    @rule(place=st.integers(0, 30), outcome=st.sampled_from(WELL + ILL))
    def a_repair_ends(self, place: int, outcome: str) -> None:
        command = self._live("Repair", place)
        if command is not None:
            self._end_repair(command, outcome)

    @rule(outcome=st.sampled_from(WELL))
    def every_repair_ends_well(self, outcome: str) -> None:
        while (command := self._live("Repair")) is not None:
            self._end_repair(command, outcome)

    @rule(place=st.integers(0, 30), outcome=st.sampled_from(VERIFIED))
    def a_verification_is_answered(self, place: int, outcome: str) -> None:
        command = self._live("Verify", place)
        if command is not None:
            self._answer(command, outcome)

    @rule()
    def every_verification_is_consistent(self) -> None:
        while (command := self._live("Verify")) is not None:
            self._answer(command, "consistent")

    @rule(kind=st.sampled_from(("Repair", "Verify")), place=st.integers(0, 30))
    def a_command_expires(self, kind: str, place: int) -> None:
        command = self._live(kind, place)
        if command is not None:
            commands.close(self.session, command, "expired", self.now, "its deadline passed")

    @rule(place=st.integers(0, 30))
    def a_trade_heals_by_itself(self, place: int) -> None:
        waiting = select(Anomaly).where(Anomaly.state == "open").order_by(Anomaly.id)
        found = self.session.scalars(waiting).unique().all()
        if found:
            found[place % len(found)].state = "healed"

    @rule(is_shadow=st.booleans())
    def its_plan_is_put_into_shadow_or_taken_out(self, is_shadow: bool) -> None:
        self.plan.is_shadow = is_shadow

    @rule(act=st.sampled_from((bulk.pause, bulk.resume, bulk.resume, bulk.resume)))
    def a_person_pauses_or_resumes(self, act: Any) -> None:
        self._ask(act)

    @rule(is_sure=st.integers(0, 9))
    def a_person_stops(self, is_sure: int) -> None:
        if is_sure == 0:
            self._ask(bulk.stop)

    # ---- what must hold

    @invariant()
    def no_trade_is_attempted_twice(self) -> None:
        trades = self.session.scalars(select(Command.trade_no).where(Command.type == "Repair")).all()
        assert len(trades) == len(set(trades))

    @invariant()
    def a_stage_begins_only_when_the_one_before_was_verified(self) -> None:
        done: Counter[int | None] = Counter()
        held: Counter[int | None] = Counter()
        for item in self._items():
            if item.state == "done":
                done[item.stage] += 1
                assert item.outcome == "repaired"
                assert item.verified == "consistent" or item.stage == 3
            if item.state in ("done", "repairing", "verifying"):
                held[item.stage] += 1
        assert held[1] <= 1
        assert held[2] <= 10
        assert held[3] - done[3] <= WINDOW
        begun = {item.stage for item in self._items()}
        assert done[1] == 1 or not begun & {2, 3}
        assert done[2] == 10 or 3 not in begun

    @invariant()
    def its_counts_are_those_of_its_trades(self) -> None:
        if not hasattr(self, "bulk_id"):
            return
        one, states = self.bulk, Counter(item.state for item in self._items())
        under_way = states["repairing"] + states["verifying"]
        assert (one.pending, one.under_way) == (states["pending"], under_way)
        assert (one.done, one.failed, one.skipped) == (states["done"], states["failed"], states["skipped"])

    @invariant()
    def what_has_ended_stays_ended(self) -> None:
        if not hasattr(self, "bulk_id"):
            return
        one = self.bulk
        assert self.ended_as in ("", one.state)
        if one.state in ("finished", "stopped"):
            self.ended_as = one.state
        if one.state == "finished":
            assert (one.pending, one.under_way) == (0, 0)

    # ---- helpers

    @property
    def bulk(self) -> BulkRepair:
        self.session.flush()
        return self.session.get_one(BulkRepair, self.bulk_id)

    def _come_to_its_end(self) -> None:
        """Once faults stop and a person goes on, everything ends within a bounded time."""
        self.plan.is_shadow = False
        for _second in range(200):
            if self.bulk.state == "paused":
                self._ask(bulk.resume)
            self.every_repair_ends_well("repaired")
            self.every_verification_is_consistent()
            self.a_second_passes(31)
            if self.bulk.state in ("finished", "stopped") and not self.bulk.under_way:
                break
        assert self.bulk.state in ("finished", "stopped")
        assert self.bulk.under_way == 0

    def _ask(self, act: Any) -> None:
        with suppress(ConflictError):
            act(self.session, self.bulk_id, reason="so", actor=PERSON, group_ids=None, now=self.now)

    def _items(self) -> list[BulkItem]:
        self.session.flush()
        return list(self.session.scalars(select(BulkItem)))

    def _repairs(self) -> int:
        self.session.flush()
        return len(self.session.scalars(select(Command.seq).where(Command.type == "Repair")).all())

    def _live(self, kind: str, place: int = 0) -> Command | None:
        self.session.flush()
        found = select(Command).where(Command.type == kind, Command.state.in_(LIVE)).order_by(Command.seq)
        live = self.session.scalars(found).all()
        return live[place % len(live)] if live else None

    def _end_repair(self, command: Command, outcome: str) -> None:
        hand_to(self.session, command, self.agent)
        results.record_result(self.session, self.agent, finished(command, outcome), self.now)
        # A refused one is verified by itself; that is none of the bulk repair's.
        self.session.execute(
            update(Command)
            .where(
                Command.type == "Verify",
                Command.state.in_(LIVE),
                Command.id.not_in(
                    select(BulkItem.verify_command_id).where(BulkItem.verify_command_id.is_not(None))
                ),
            )
            .values(state="cancelled")
        )
        self.session.expire_all()

    def _answer(self, command: Command, outcome: str) -> None:
        hand_to(self.session, command, self.agent)
        message = facts_read(command, outcome)
        verifications.record_facts(self.session, self.agent, message, self.now)
        bulk_endings.record_verified(self.session, self.agent, message, self.now)


def test_a_bulk_repair_keeps_its_promises_in_any_order_of_events(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_course, "WINDOW", WINDOW)
    # How fast the machine is says nothing of what is tested.
    unhurried = settings(
        max_examples=25,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=(HealthCheck.too_slow,),
    )
    run_state_machine_as_test(BulkMachine, settings=unhurried)
