"""What the database refuses at the end of a unit of work, as a service's error or as a fault."""

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from app.errors import ConflictError
from app.unit_of_work import unit_of_work
from tests.factories import make_group, make_plan

pytestmark = pytest.mark.each_engine


def test_what_may_stand_once_only_is_a_conflict(app: Flask) -> None:
    with unit_of_work() as session:
        make_group(session)
    with pytest.raises(ConflictError) as refused, unit_of_work() as session:
        make_group(session)
    assert refused.value.code == "taken_meanwhile"


def test_any_other_refusal_of_the_database_is_a_fault(app: Flask) -> None:
    with pytest.raises(IntegrityError), unit_of_work() as session:
        make_plan(session, make_group(session), level=9)
