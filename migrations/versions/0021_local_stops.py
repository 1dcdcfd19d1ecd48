"""keep each local stop of an agent that is over, in the history of stops

Revision: 0021, of 2026-11-29 20:00:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None

STANDING = sa.text('lifted_at IS NULL')
WITHOUT_LOCAL = "scope IN ('all', 'group', 'agent')"
WITH_LOCAL = "scope IN ('all', 'group', 'agent', 'here')"
IS_OVER = "scope != 'here' OR lifted_at IS NOT NULL"


def upgrade() -> None:
    _drop_index()
    with op.batch_alter_table('stop') as batch:
        batch.drop_constraint(op.f('ck_stop_scope'), type_='check')
        batch.create_check_constraint(op.f('ck_stop_scope'), WITH_LOCAL)
        batch.create_check_constraint(op.f('ck_stop_here_is_over'), IS_OVER)
    _make_index()


def downgrade() -> None:
    """What the audit trail tells of them stays."""
    op.execute("DELETE FROM stop WHERE scope = 'here'")
    _drop_index()
    with op.batch_alter_table('stop') as batch:
        batch.drop_constraint(op.f('ck_stop_here_is_over'), type_='check')
        batch.drop_constraint(op.f('ck_stop_scope'), type_='check')
        batch.create_check_constraint(op.f('ck_stop_scope'), WITHOUT_LOCAL)
    _make_index()


def _drop_index() -> None:
    """SQLite makes the table anew and would lose an index on expressions."""
    op.drop_index('uq_stop_standing', table_name='stop')


def _make_index() -> None:
    op.create_index(
        'uq_stop_standing',
        'stop',
        ['scope', sa.text('coalesce(group_id, 0)'), sa.text('coalesce(agent_id, 0)')],
        unique=True,
        sqlite_where=STANDING,
        postgresql_where=STANDING,
    )
