"""What must hold of every anomaly, whatever happens to it."""

from typing import Any, Final

from hypothesis.stateful import invariant

from tests.app.machines.server_machine import ServerMachine

ANOMALY_CHANGES: Final = {
    "open": {"repairing", "waiting", "exhausted", "needs_human", "repaired", "healed", "ignored"},
    "repairing": {"open", "waiting", "exhausted", "needs_human", "repaired", "healed"},
    "waiting": {"open", "repairing", "exhausted", "needs_human", "repaired", "healed", "ignored"},
    "exhausted": {"repairing", "needs_human", "repaired", "healed", "ignored"},
    "needs_human": {"open", "waiting", "repairing", "repaired", "healed", "ignored"},
}
"""From an anomaly's state to those it may change to; repaired, healed and ignored are never left (I6)."""
TERMINAL: Final = ("repaired", "healed", "ignored")
FRESHLY_CONSISTENT: Final = {"consistent", "outcome_already_consistent", "outcome_repaired"}


class AnomalyWatch(ServerMachine):
    """The invariants of anomalies."""

    def look_at_anomaly_change(self, anomaly_id: int, before: str, after: str) -> None:
        assert after in ANOMALY_CHANGES.get(before, ()), f"{before} -> {after}"

    def anomalies(self) -> list[Any]:
        """Every anomaly as it stands."""
        return self.stage.rows("SELECT * FROM anomaly ORDER BY id")

    def events(self) -> dict[int, list[Any]]:
        """The history of each, the oldest first."""
        found: dict[int, list[Any]] = {}
        for row in self.stage.rows("SELECT * FROM anomaly_event ORDER BY id"):
            found.setdefault(row.anomaly_id, []).append(row)
        return found

    @invariant()
    def the_history_has_no_gap(self) -> None:
        """Each change begins where the one before ended, and the last is what stands (I12)."""
        events = self.events()
        for anomaly in self.anomalies():
            state = None
            for event in events[anomaly.id]:
                assert event.from_state == state, event
                state = event.to_state
            assert state == anomaly.state

    @invariant()
    def every_change_is_told_once(self) -> None:
        """As many changes as the database itself has seen, no more and no fewer (I12)."""
        told = sum(
            1
            for history in self.events().values()
            for event in history
            if event.from_state not in (None, event.to_state)
        )
        ((seen,),) = self.stage.rows("SELECT count(*) FROM trace WHERE kind = 'anomaly'")
        assert told == seen

    @invariant()
    def a_trade_has_one_open_anomaly(self) -> None:
        open_ones = [one.trade_no for one in self.anomalies() if one.state not in TERMINAL]
        assert len(open_ones) == len(set(open_ones))

    @invariant()
    def only_news_that_a_trade_is_whole_heals_it(self) -> None:
        """Absence never heals; each healing names the command whose facts said so."""
        for history in self.events().values():
            for event in history:
                if event.to_state in ("healed", "repaired") and event.from_state != event.to_state:
                    assert event.code in FRESHLY_CONSISTENT, event
                    assert event.command_id, event

    @invariant()
    def what_is_closed_says_when(self) -> None:
        for anomaly in self.anomalies():
            assert (anomaly.closed_at is not None) == (anomaly.state in TERMINAL)
            assert anomaly.resolution is None or anomaly.state == "repaired"
