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
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.databases import databases
from tests.factories import make_plan


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


PLAN_COLUMNS = (
    "id, group_id, fixer_code, max_retries, retry_cron, mode, state, level, description, zone, version,"
    " created_at, updated_at, updated_by"
)
PLAN_REST = (
    "0, '0 0/2 * * * ?', 'auto', 'normal', 3, '', 'Asia/Shanghai', 1,"
    " '2026-03-02 12:00:00', '2026-03-02 12:00:00', 'li.na'"
)
ROWS_OF_0004 = (
    "INSERT INTO system_group (id, sys_code, name, zone, trade_table, is_enabled, created_at)"
    " VALUES (1, 'PBAP', '', 'Asia/Shanghai', 'TPBAP_TRD_ACC_TRADE', 1, '2026-03-02 12:00:00')",
    f"INSERT INTO plan ({PLAN_COLUMNS}) VALUES (1, 1, 'interRechargeFixServiceImpl', {PLAN_REST})",
    f"INSERT INTO plan ({PLAN_COLUMNS}) VALUES (2, 1, 'rechargeTimeoutFixServiceImpl', {PLAN_REST})",
    "INSERT INTO tick (subject, subject_id, due_at, at, missed, commands)"
    " VALUES ('plan', 2, '2026-03-02 12:00:00', '2026-03-02 12:00:00', 0, 0)",
)


def test_a_deleted_plans_id_is_given_to_no_other(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade(revision="0004")
        with db.engine.begin() as connection:
            # The models know columns that this revision has not.
            for statement in ROWS_OF_0004:
                connection.execute(text(statement))
            connection.execute(text("DELETE FROM plan WHERE id = 2"))
        upgrade()
        with unit_of_work() as session:
            group = session.get_one(SystemGroup, 1)
            new = make_plan(session, group, fixer_code="rechargeTimeoutFixServiceImpl")
        assert new.id == 3
        assert db.session.get_one(Plan, 1).fixer_code == "interRechargeFixServiceImpl"
        with pytest.raises(IntegrityError), unit_of_work() as session:
            make_plan(session, group, fixer_code="other", level=9)
        db.session.remove()
        db.engine.dispose()


STOP_COLUMNS = "id, scope, name, reason, set_by, set_at, lifted_at"


def add_stop(stop_id: int, scope: str, lifted_at: str = "NULL") -> None:
    values = f"{stop_id}, '{scope}', 'pbap-1', 'disks', 'pbap-1', '2026-03-02 12:00:00', {lifted_at}"
    with db.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO stop ({STOP_COLUMNS}) VALUES ({values})"))


def test_the_history_of_stops_takes_local_ones_that_are_over_and_keeps_what_it_held(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade(revision="0020")
        add_stop(1, "agent")
        upgrade()
        for scope in ("agent", "here", "other"):  # such a one stands; none of a host stands; no such scope
            with pytest.raises(IntegrityError):
                add_stop(2, scope)
        add_stop(2, "here", "'2026-03-02 12:30:00'")
        downgrade(revision="0020")
        assert db.session.execute(text("SELECT id, scope, reason FROM stop")).all() == [(1, "agent", "disks")]
        db.session.remove()
        with pytest.raises(IntegrityError):
            add_stop(2, "agent")
        db.engine.dispose()


def test_who_hears_of_trades_for_a_person_hears_of_orders_for_one(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    columns = (
        "id, name, kind, url, kinds, least_level, language, grouping_seconds, quiet_from, quiet_to, zone,"
    )
    columns += " tells_recovery, is_enabled, last_error, created_at, updated_at, updated_by"
    rest = "0, 'zh', 60, '', '', 'Asia/Shanghai', 1, 1, '', '2026-03-02', '2026-03-02', 'li.na'"
    with app.app_context():
        upgrade(revision="0021")
        with db.engine.begin() as connection:
            for number, kinds in ((1, '["needs_human", "breaker"]'), (2, '["breaker"]')):
                values = f"{number}, 'c{number}', 'slack', 'u', '{kinds}', {rest}"
                connection.execute(text(f"INSERT INTO alert_channel ({columns}) VALUES ({values})"))
        kept = text("SELECT kinds FROM alert_channel ORDER BY id")
        upgrade()
        assert db.session.scalars(kept).all() == ['["needs_human", "breaker", "order_waits"]', '["breaker"]']
        db.session.remove()
        downgrade(revision="0021")
        assert db.session.scalars(kept).all() == ['["needs_human", "breaker"]', '["breaker"]']
        db.session.remove()
        db.engine.dispose()


def test_a_manual_plan_in_shadow_falls_due_once_it_has_ticks(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade(revision="0004")
        with db.engine.begin() as connection:
            for statement in ROWS_OF_0004:
                connection.execute(text(statement))
        upgrade(revision="0023")
        with db.engine.begin() as connection:
            connection.execute(text("UPDATE plan SET mode = 'manual', is_shadow = (id = 1)"))
        upgrade()
        plans = db.session.scalars(db.select(Plan).order_by(Plan.id)).unique()
        assert [plan.next_due_at is not None for plan in plans] == [True, False]
        db.session.remove()
        db.engine.dispose()


def test_the_migrations_can_be_taken_back(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path))
    with app.app_context():
        upgrade()
        downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
        db.engine.dispose()
