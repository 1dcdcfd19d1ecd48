"""Ten thousand trades at once tell nobody ten thousand times."""

from app.alerts import service
from app.anomalies.states import Reached
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel, add_group, add_trades, deliveries
from tests.conftest import HandClock
from tests.factories import FIXER
from tests.fakes.alert_sender import FakeSender


def test_a_storm_of_ten_thousand_trades_is_a_handful_of_messages(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group = add_group()
    add_trades(group, 1, "exhausted")
    for minute in range(10):
        numbers = [f"CO{minute:02d}{number:03d}" for number in range(1_000)]
        storm = [Reached("exhausted", group.id, one, FIXER, "", 100, "CNY") for one in numbers]
        with unit_of_work() as session:
            service.trades_reached(session, storm, clock())
        rounds.run(60, step=30)
    rounds.run(3600, step=600)
    assert len(sender.sent) <= 6
    assert sum(one.event_count for one in deliveries()) == 10_001
    assert {one.state for one in deliveries()} == {"sent"}
