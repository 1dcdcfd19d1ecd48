"""A wrong filter of a list: answered with 400, named at its field, kept as typed, and it does not narrow."""

import pytest
from flask import Flask

from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.visitor import Visitor, visitor_of
from tests.factories import make_agent, make_anomaly, make_group, make_plan


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group, name="pbap-1")
        make_plan(session, group)
        make_anomaly(session, group)
    db.session.remove()
    return visitor_of(app, "zhang.wei", "admin")


WRONG = [
    ("/executions", "group", "NOPE"),
    ("/executions", "outcome", "zz"),
    ("/executions", "agent", "abc"),
    ("/executions", "trigger", "zz"),
    ("/executions", "start", "never"),
    ("/collections", "group", "NOPE"),
    ("/collections", "state", "zz"),
    ("/collections", "trigger", "zz"),
    ("/plans", "group", "NOPE"),
    ("/plans", "level", "9"),
    ("/plans", "mode", "zz"),
    ("/plans", "state", "zz"),
    ("/agents", "group", "NOPE"),
    ("/agents", "state", "zz"),
    ("/audit", "group", "NOPE"),
    ("/audit", "action", "zz"),
    ("/audit", "object", "zz"),
    ("/users", "role", "zz"),
    ("/users", "state", "zz"),
    ("/users/groups", "state", "zz"),
    ("/frames", "command_id", "xyz"),
    ("/frames", "type", "zz"),
    ("/anomalies", "group", "NOPE"),
    ("/anomalies", "state", "zz"),
]


@pytest.mark.parametrize(("path", "name", "value"), WRONG)
def test_a_wrong_filter_is_named_at_its_field_and_kept(
    visitor: Visitor, path: str, name: str, value: str
) -> None:
    answer = visitor.get(f"{path}?{name}={value}")
    assert answer.status_code == 400
    assert f'id="{name}-error"' in answer.text
    assert f'value="{value}"' in answer.text
    assert 'class="filters open"' in answer.text


@pytest.mark.parametrize(("path", "name", "value"), WRONG)
def test_the_list_alone_tells_it_too(visitor: Visitor, path: str, name: str, value: str) -> None:
    answer = visitor.get(f"{path}?{name}={value}", target="list")
    assert answer.status_code == 400
    assert f'id="{name}-error"' in answer.text


@pytest.mark.parametrize(
    ("url", "row"),
    [("/plans?group=NOPE", "plan-1"), ("/agents?state=zz", "agent-1"), ("/users?role=zz", "user-1")],
)
def test_a_wrong_filter_does_not_narrow(visitor: Visitor, url: str, row: str) -> None:
    assert f'id="{row}"' in visitor.get(url).text


@pytest.mark.parametrize("path", sorted({path for path, _name, _value in WRONG}))
def test_filters_that_are_right_stay_folded(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 200
    assert 'class="filters"' in answer.text
    assert "filter-errors" not in answer.text


def test_a_group_not_to_be_seen_is_as_one_that_is_not_there(app: Flask, visitor: Visitor) -> None:
    with unit_of_work() as session:
        make_group(session, "PBMS")
    stranger = visitor_of(app, "li.na", "operator", groups=["PBMS"])
    for path in ("/executions", "/collections", "/plans", "/agents", "/anomalies", "/audit"):
        answer = stranger.get(f"{path}?group=PBAP")
        assert answer.status_code == 400
        assert 'id="group-error"' in answer.text
        assert "pbap-1" not in answer.text
