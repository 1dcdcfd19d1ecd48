"""What must hold of every attempt, whatever happens to it, and what production holds of its trade."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hypothesis.stateful import invariant

from tests.app.machines.anomaly_watch import AnomalyWatch

FAILED_LATE: Final = re.compile(r"(fence \d+, )?failed:")
"""How the history tells of a failure that came when nothing waited for it any more."""


@dataclass
class Production:
    """One trade there. ``money``: untouched, intended (a step was written down), moved, whole.

    ``max_retries`` is what its plan says; ``was_touched``: money was not untouched at some time.
    """

    max_retries: int
    money: str = "untouched"
    was_touched: bool = False
    fence: int = 0

    def becomes(self, money: str) -> None:
        """Go on from one to the next."""
        self.money = money
        self.was_touched = self.was_touched or money != "untouched"


class AttemptWatch(AnomalyWatch):
    """The invariants of attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.production: dict[str, Production] = {}
        self._judged = 0

    @invariant()
    def an_anomaly_is_repairing_while_its_newest_attempt_runs(self) -> None:
        newest = {row.anomaly_id: row for row in self.attempts()}
        for anomaly in self.anomalies():
            is_running = anomaly.id in newest and newest[anomaly.id].outcome is None
            assert (anomaly.state == "repairing") == is_running, (anomaly.state, newest.get(anomaly.id))

    @invariant()
    def an_attempt_runs_while_its_command_lives(self) -> None:
        odd = self.stage.rows(
            "SELECT attempt.id, attempt.outcome, command.state FROM attempt"
            " JOIN command ON command.id = attempt.command_id"
            " WHERE (attempt.outcome IS NULL)"
            " <> (command.state IN ('pending', 'sent', 'accepted', 'running'))"
        )
        assert not odd, odd

    def do_what_is_due(self) -> None:
        super().do_what_is_due()
        self._judge_what_ticks_began()

    def _judge_what_ticks_began(self) -> None:
        """At most N + 1 attempts fail before a person is asked; each further one is a click (I7).

        Judged right after the tick, by what the server then knew of money. What has moved some is not begun
        by a tick but gone on with.
        """
        events, judged = self.events(), self._judged
        for anomaly in self.anomalies():
            most = self.production[anomaly.trade_no].max_retries
            history = events[anomaly.id]
            for place, event in enumerate(history):
                if event.id > judged and event.code == "attempt_tick" and not anomaly.has_moved_money:
                    assert failures_in(history[:place]) <= most, history
            self._judged = max(self._judged, history[-1].id)

    @invariant()
    def every_failure_is_counted(self) -> None:
        """What decides whether a tick begins another attempt is what the history tells (I7)."""
        events = self.events()
        for anomaly in self.anomalies():
            assert anomaly.failed_attempts == failures_in(events[anomaly.id])

    @invariant()
    def money_is_told_of_only_where_it_was_touched(self) -> None:
        """So that the exception for money that has moved is none for anything else."""
        for anomaly in self.anomalies():
            assert not anomaly.has_moved_money or self.production[anomaly.trade_no].was_touched

    @invariant()
    def every_click_is_audited(self) -> None:
        """As many entries as attempts that no tick began (I7)."""
        ((clicked,),) = self.stage.rows("SELECT count(*) FROM attempt WHERE trigger <> 'tick'")
        ((audited,),) = self.stage.rows(
            "SELECT count(*) FROM audit_entry WHERE action IN ('attempt.start', 'attempt.retry')"
        )
        assert clicked == audited

    @invariant()
    def money_on_its_way_is_never_exhausted(self) -> None:
        for anomaly in self.anomalies():
            assert not (anomaly.state == "exhausted" and anomaly.has_moved_money), anomaly.trade_no

    @invariant()
    def attempts_are_numbered_without_a_gap(self) -> None:
        numbers: dict[int, list[int]] = {}
        for row in self.attempts():
            numbers.setdefault(row.anomaly_id, []).append(row.number)
        for anomaly in self.anomalies():
            assert numbers.get(anomaly.id, []) == list(range(1, anomaly.attempts + 1))

    @invariant()
    def whole_means_whole(self) -> None:
        """Repaired and healed are what production says, never what a server concludes (I4)."""
        for anomaly in self.anomalies():
            if anomaly.state in ("repaired", "healed"):
                assert self.production[anomaly.trade_no].money == "whole"

    def attempts(self) -> list[Any]:
        """Every attempt as it stands, in the order they began."""
        return self.stage.rows("SELECT * FROM attempt ORDER BY id")


def failures_in(history: Sequence[Any]) -> int:
    """How many attempts have failed, those that were told late among them."""
    late = [event for event in history if event.code == "late_result" and FAILED_LATE.match(event.reason)]
    return [event.code for event in history].count("outcome_failed") + len(late)
