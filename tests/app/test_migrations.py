"""The migrations make exactly what the models say, on every engine the server runs on."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from app import create_app
from app.anomalies.models import AMOUNT_SQL
from app.config import Settings
from app.extensions import Base, db
from app.plans.models import Plan, Tick
from app.unit_of_work import unit_of_work
from tests.databases import databases
from tests.factories import NOW, make_group, make_plan


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLAlchemy reads none back from SQLite
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_migrated_database_is_what_the_models_say(engine: str, tmp_path: Path) -> None:
    with databases(engine, tmp_path) as new_database:
        app = create_app(Settings(instance=tmp_path / "instance", database_url=new_database()))
        with app.app_context():
            upgrade()
            with db.engine.connect() as connection:
                context = MigrationContext.configure(connection)
                assert compare_metadata(context, Base.metadata) == []
            db.engine.dispose()


def test_an_index_on_an_expression_is_as_the_models_say_on_sqlite_too(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade()
        statement = text("SELECT sql FROM sqlite_master WHERE name = 'ix_anomaly_state_amount'")
        made = db.session.execute(statement).scalar_one()
        assert made.endswith(f"ON anomaly (state, {AMOUNT_SQL}, id, group_id, fixer_code)")
        db.session.remove()
        db.engine.dispose()


def test_what_was_counted_by_the_hour_stays_counted(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade(revision="0003")
        with db.engine.begin() as connection:
            columns = "group_id, hour, name, count, amount_minor"
            connection.execute(
                text(f"INSERT INTO hourly_count ({columns}) VALUES (1, '2026-03-02 12:00:00', 'new', 5, 90)")
            )
        upgrade()
        kept = db.session.execute(text("SELECT quarter, name, count, amount_minor FROM quarter_count")).one()
        assert tuple(kept) == ("2026-03-02 12:00:00", "new", 5, 90)
        db.session.remove()
        db.engine.dispose()


def test_a_deleted_plans_id_is_given_to_no_other(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade(revision="0004")
        with unit_of_work() as session:
            group = make_group(session)
            kept = make_plan(session, group)
            lost = make_plan(session, group, fixer_code="rechargeTimeoutFixServiceImpl")
            session.add(Tick(subject="plan", subject_id=lost.id, due_at=NOW, at=NOW))
            session.delete(lost)
        upgrade()
        with unit_of_work() as session:
            new = make_plan(session, group, fixer_code="rechargeTimeoutFixServiceImpl")
        assert (kept.id, lost.id, new.id) == (1, 2, 3)
        assert db.session.get_one(Plan, kept.id).fixer_code == kept.fixer_code
        with pytest.raises(IntegrityError), unit_of_work() as session:
            make_plan(session, group, fixer_code="other", level=9)
        db.session.remove()
        db.engine.dispose()


def test_the_migrations_can_be_taken_back(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade()
        downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
        db.engine.dispose()
