"""One writer at a time; what the database refuses at the end, as a service's error or as a fault."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from app.agents.writer import find_storage_failure
from app.errors import ConflictError
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.factories import make_group, make_plan
from tests.server_databases import another_writer

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


def test_a_writer_that_does_not_end_is_a_storage_failure_and_holds_up_no_read(app: Flask) -> None:
    with another_writer():
        with pytest.raises(OperationalError) as failed, unit_of_work() as session:
            make_group(session)
        assert find_storage_failure(failed.value) is failed.value
        assert db.session.execute(text("SELECT count(*) FROM system_group")).scalar_one() == 0
    with unit_of_work() as session:
        make_group(session)


def test_a_unit_of_work_reads_what_was_committed_while_it_waited_whatever_the_database_prefers(
    app: Flask, server_engine: str
) -> None:
    if server_engine == "sqlite":
        pytest.skip("BEGIN IMMEDIATE reads nothing before it has the lock")

    def prefer(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute("SET default_transaction_isolation = 'repeatable read'")
        connection.commit()

    event.listen(db.engine, "checkout", prefer)
    try:
        for _ in range(12):
            with unit_of_work() as session:
                assert session.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    finally:
        event.remove(db.engine, "checkout", prefer)
