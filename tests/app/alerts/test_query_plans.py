"""What the courier asks each second reads no table whole that grows for ever (SQLite)."""

import re

from app.extensions import db
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel, add_group, add_trades
from tests.app.test_query_plans import statements
from tests.fakes.alert_sender import FakeSender

WHOLE = re.compile(r"SCAN (anomaly|alert_delivery)(?! USING INDEX \w+_undone)")


def test_a_round_with_and_without_something_to_tell(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group = add_group()
    with statements() as heard:
        rounds.run(120, step=20)
        add_trades(group, 1)
        rounds.run(120, step=20)
    asked = [one for one in heard if one[0].lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]
    assert len(sender.sent) == 1
    found = set()
    with db.engine.connect() as connection:
        for statement, values in asked:
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values):
                if WHOLE.match(row.detail):
                    found.add(f"{row.detail}: {statement}")
    assert found == set()
