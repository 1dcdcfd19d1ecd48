"""The machine of anomalies: reported, reported again, cut off, voided, verified, ignored, left alone."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from agent.answers import CollectFinished
from agent.protocol import Collect, Verify
from app.anomalies import collection_course, collections, service
from app.unit_of_work import WorkSession
from app.users import groups
from app.users.models import SystemGroup
from tests.app.machines.anomaly_watch import AnomalyWatch
from tests.app.machines.pretender import Pretender, new_id
from tests.app.machines.server_machine import CODES, any_number, chosen, result_of, suite_settings
from tests.app.machines.stage import Stage
from tests.factories import PERSON, chunk, reported

TRADES: Final = ("CO1", "CO2", "CO3")
DECISIONS: Final = ("repair", "wait", "human")
LOOKS: Final = ("consistent", "missing", "human", "wait", "repair", "error")
sightings = st.dictionaries(st.sampled_from(TRADES), st.sampled_from(DECISIONS), max_size=3)


class AnomalyMachine(AnomalyWatch):
    """Collections of three trades without a plan: what is found, and what people and verifications say."""

    def __init__(self) -> None:
        super().__init__()
        self._row_hash = "hash"

    @initialize()
    def something_is_found(self) -> None:
        self.broadcast()
        self.life_goes_on()
        for agent, command_id in self._of(Collect):
            agent.begin(command_id)
            self._report(agent, command_id, dict(zip(TRADES, DECISIONS, strict=True)), chunks=1, lost=0)

    @rule()
    def broadcast(self) -> None:
        now = self.stage.clock()

        def work(session: WorkSession) -> None:
            collections.start_run(
                session,
                group=session.get_one(SystemGroup, self.group_id),
                codes=CODES,
                window=(now - timedelta(days=7), now),
                trigger="click",
                actor=PERSON,
                reason="",
                now=now,
            )

        self.ask(work)

    @rule()
    def production_changes_its_rows(self) -> None:
        """What was ignored may be reported again."""
        self._row_hash += "'"

    @rule(pick=any_number, found=sightings, chunks=st.integers(1, 2), lost=st.sampled_from([0, 0, 0, 1]))
    @precondition(lambda self: self._of(Collect))
    def report(self, pick: int, found: dict[str, str], chunks: int, lost: int) -> None:
        """A whole report, or one whose trailer states a chunk that never came."""
        agent, command_id = self._begun(Collect, pick)
        self._report(agent, command_id, found, chunks, lost)

    @rule(pick=any_number, found=sightings)
    @precondition(lambda self: self._of(Collect))
    def report_a_part_and_die(self, pick: int, found: dict[str, str]) -> None:
        """Cut between two chunks; after its next start the agent reports all of it again."""
        agent, command_id = self._begun(Collect, pick)
        agent.say(self._chunk(agent, command_id, 0, found))
        agent.die(is_noticed=True)

    @rule(pick=any_number)
    def void_a_run(self, pick: int) -> None:
        """A person cancels a run, whatever it has reported."""
        runs = [row.id for row in self.stage.rows("SELECT id FROM collection_run")]
        now = self.stage.clock()
        self.ask(
            lambda session: collection_course.cancel_run(
                session, chosen(runs, pick), actor=PERSON, reason="void", group_ids=None, now=now
            )
        )

    @rule(pick=any_number, outcome=st.sampled_from(LOOKS))
    @precondition(lambda self: self._of(Verify))
    def answer(self, pick: int, outcome: str) -> None:
        agent, command_id = self._begun(Verify, pick)
        agent.finish(command_id, result_of(agent, command_id, outcome, reason=outcome))

    @rule(act=st.sampled_from([service.verify] * 7 + [service.ignore]), pick=any_number)
    def a_person_decides(self, act: Any, pick: int) -> None:
        anomalies = [row.id for row in self.anomalies()]
        now, one = self.stage.clock(), chosen(anomalies, pick)
        values: dict[str, Any] = {"reason": "seen", "actor": PERSON, "group_ids": None, "now": now}
        self.ask(lambda session: act(session, one, **values))

    @rule()
    def turn_the_group_off_or_on(self) -> None:
        now = self.stage.clock()

        def work(session: WorkSession) -> None:
            group = session.get_one(SystemGroup, self.group_id)
            kept = {"name": group.name, "zone": group.zone, "trade_table": "T"}
            groups.update_group(
                session, group, actor=PERSON, is_enabled=not group.is_enabled, reason="r", now=now, **kept
            )

        self.ask(work)

    # ---- in short

    def _of(self, kind: type) -> list[tuple[Pretender, str]]:
        """What agents have in hand of one kind of command, begun or not."""
        in_hand = [*self.in_hand("taken"), *self.in_hand("running")]
        return [(agent, one) for agent, one in in_hand if isinstance(agent.journal[one].command, kind)]

    def _begun(self, kind: type, pick: int) -> tuple[Pretender, str]:
        agent, command_id = chosen(self._of(kind), pick)
        if agent.journal[command_id].state == "taken":
            agent.begin(command_id)
        return agent, command_id

    def _chunk(self, agent: Pretender, command_id: str, number: int, found: dict[str, str]) -> Any:
        rows = [
            reported(
                trade_no,
                outcome=outcome,
                fixer_code=None if outcome == "human" else CODES[0],
                row_hash=self._row_hash,
            )
            for trade_no, outcome in found.items()
        ]
        return chunk(agent.journal[command_id].command, number, *rows)  # type: ignore[arg-type]

    def _report(
        self, agent: Pretender, command_id: str, found: dict[str, str], chunks: int, lost: int
    ) -> None:
        command = agent.journal[command_id].command
        assert isinstance(command, Collect)
        parts = [self._chunk(agent, command_id, number, found) for number in range(chunks)]
        trailer = CollectFinished(
            id=new_id(),
            command_id=command_id,
            run_id=command.run_id,
            shard=command.shard,
            chunks=chunks + lost,
            rows=chunks * len(found),
            amount_minor=chunks * len(found) * 10_000,
            scanned=9,
            unverified=0,
            duration_ms=1,
        )
        agent.finish(command_id, *parts, trailer)

    def teardown(self) -> None:
        """Once the faults stop, runs and verifications end; what is open waits for a plan or a person."""
        self.heal(61, self._work_all, self._is_over)

    def _work_all(self, agent: Pretender) -> None:
        for command_id in agent.unfinished("taken"):
            agent.begin(command_id)
        for command_id in agent.unfinished("running"):
            if isinstance(agent.journal[command_id].command, Collect):
                self._report(agent, command_id, {}, chunks=0, lost=0)
            else:
                agent.finish(command_id, result_of(agent, command_id, "consistent"))

    def _is_over(self) -> bool:
        runs = self.stage.rows("SELECT id FROM collection_run WHERE state IN ('waiting', 'running')")
        return not runs and not self.live_commands()

    def look_at_anomaly_change(self, anomaly_id: int, before: str, after: str) -> None:
        super().look_at_anomaly_change(anomaly_id, before, after)
        assert after not in ("repairing", "exhausted", "repaired"), "no repair was ever ordered"


def test_whatever_happens_to_anomalies_they_keep_to_their_states(
    tmp_path: Path, migrated_database: Path
) -> None:
    """I6, I8, I12: collections cut off, voided, repeated; verifications late and of any answer; people."""
    AnomalyMachine.stage = Stage(tmp_path, migrated_database)
    with AnomalyMachine.stage.curtain():
        run_state_machine_as_test(AnomalyMachine, settings=suite_settings)
