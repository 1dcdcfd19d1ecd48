"""give the id of a deleted plan or schedule to no other

SQLite gave the highest id again after its row was deleted, and with it the old one's ticks and repairs.
PostgreSQL never did.

Revision: 0005, after 0004, of 2026-11-28 17:25:00
"""

from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

GIVEN = {
    'plan': (
        "SELECT id FROM plan UNION ALL SELECT plan_id FROM execution"
        " UNION ALL SELECT subject_id FROM tick WHERE subject = 'plan'"
    ),
    'collection_schedule': (
        "SELECT id FROM collection_schedule UNION ALL SELECT subject_id FROM tick WHERE subject = 'schedule'"
    ),
}
"""The ids that were given out, deleted ones that left a trace among them."""


def upgrade() -> None:
    if op.get_bind().dialect.name != 'sqlite':
        return
    for table, given in GIVEN.items():
        _make_anew(table, is_lasting=True)
        op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{table}'")
        op.execute(
            "INSERT INTO sqlite_sequence (name, seq)"
            f" SELECT '{table}', coalesce(max(id), 0) FROM ({given})"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name != 'sqlite':
        return
    for table in GIVEN:
        _make_anew(table, is_lasting=False)


def _make_anew(table: str, *, is_lasting: bool) -> None:
    """Copy the table, its constraints and its rows into one that gives each id once, or may give it again."""
    with op.batch_alter_table(
        table, recreate='always', table_kwargs={'sqlite_autoincrement': is_lasting}
    ):
        pass
