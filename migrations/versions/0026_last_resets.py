"""find the last reset of a group's breakers without reading all of them

Revision: 0026, of 2026-11-30 02:40:00
"""

from alembic import op

revision = '0026'
down_revision = '0025'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_breaker_group_id_reset_at', 'breaker', ['group_id', 'reset_at'])


def downgrade() -> None:
    op.drop_index('ix_breaker_group_id_reset_at', table_name='breaker')
