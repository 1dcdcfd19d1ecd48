"""keep what pends in the order in which it is sent

Revision: 0019, of 2026-11-29 16:25:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    op.drop_index('ix_command_pending', 'command')
    columns = ['group_id', sa.text('priority DESC'), 'seq']
    op.create_index('ix_command_pending', 'command', columns, sqlite_where=PENDING, postgresql_where=PENDING)


def downgrade() -> None:
    op.drop_index('ix_command_pending', 'command')
    columns = ['group_id', 'priority', 'seq']
    op.create_index('ix_command_pending', 'command', columns, sqlite_where=PENDING, postgresql_where=PENDING)
