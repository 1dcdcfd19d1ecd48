"""The global search."""

import pytest

from app.monitor.search import HITS_LIMIT, search
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.monitor.rows import make_attempt, make_command
from tests.factories import FIXER, make_agent, make_anomaly, make_group, make_plan


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


def test_a_trade_number_is_found_by_its_beginning_everywhere(
    session: WorkSession, group: SystemGroup
) -> None:
    anomaly = make_anomaly(session, group, trade_no="CO900")
    attempt = make_attempt(session, anomaly)
    command = make_command(session, group, trade_no="CO900")
    make_anomaly(session, group, trade_no="CO91")
    found = search(session, None, " CO90 ")
    assert [one.id for one in found.anomalies] == [anomaly.id]
    assert [one.id for one in found.executions] == [attempt.execution_id]
    assert [one.id for one in found.commands] == [command.id]
    assert found.only_hit is None


def test_a_whole_trade_number_means_its_only_anomaly(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group, trade_no="CO900")
    make_attempt(session, anomaly)
    assert search(session, None, "CO900").only_hit == anomaly


def test_the_only_hit_is_meant_whatever_it_is(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group, name="pbap-east-1", host="db7.internal")
    plan = make_plan(session, group, description="夜间批量")
    command = make_command(session, group)
    assert search(session, None, "EAST").only_hit == agent
    assert search(session, None, "db7").only_hit == agent
    assert search(session, None, "夜间").only_hit == plan
    assert search(session, None, FIXER).only_hit == plan
    assert search(session, None, command.id[:12]).only_hit == command


def test_a_number_sign_asks_by_number(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group)
    assert search(session, None, f"#{anomaly.id}").only_hit == anomaly


def test_other_groups_are_never_found(session: WorkSession, group: SystemGroup) -> None:
    other = make_group(session, "PBMS")
    make_anomaly(session, group, trade_no="CO900")
    make_command(session, group, trade_no="CO900")
    make_agent(session, group, name="CO900")
    make_plan(session, group, description="CO900")
    assert search(session, [other.id], "CO900").count == 0


@pytest.mark.parametrize("words", ["", "   ", "%", "_", "#", "#x", "\U0010ffff", "nothing has this"])
def test_words_that_match_nothing_find_nothing(session: WorkSession, group: SystemGroup, words: str) -> None:
    make_anomaly(session, group)
    make_agent(session, group, name="pbap")
    assert search(session, None, words).count == 0


def test_many_hits_are_cut_and_say_so(session: WorkSession, group: SystemGroup) -> None:
    for number in range(HITS_LIMIT + 1):
        make_anomaly(session, group, trade_no=f"CO9{number:02d}")
    found = search(session, None, "CO9")
    assert len(found.anomalies) == HITS_LIMIT
    assert found.more == {"anomalies"}
