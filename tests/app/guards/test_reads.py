"""What guards ask at every tick, result and report reads no table whole (SQLite)."""

from flask import Flask

from app.unit_of_work import unit_of_work
from tests.app.guards.test_breakers import attempt, closed, report
from tests.app.guards.test_verdicts import tick
from tests.app.test_query_plans import whole_reads
from tests.factories import NOW, make_agent, make_group, make_plan


def test_what_is_counted_is_read_by_its_indexes(app: Flask) -> None:
    with unit_of_work() as session:
        group = make_group(session, breaker_failures=1, breaker_returns=1, breaker_hour_minor=10**9)
        agent = make_agent(session, group)
        plan = make_plan(session, group, limit_hour_count=9, limit_day_minor=10**9, breaker_hour_minor=10**9)
        closed(session, group, "T-1")

    def work() -> None:
        with unit_of_work() as session:
            mine = session.merge(plan)
            tick(session, mine)
            attempt(session, mine, session.merge(agent), "failed", NOW)
            report(session, session.merge(agent), NOW, "T-1")

    assert [one for one in whole_reads(work) if "begun_repair" in one or "SCAN anomaly" in one] == []
