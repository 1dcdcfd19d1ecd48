"""index live collection runs

Revision: 0002, after 0001, of 2026-11-20 13:03:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_live = sa.text("state IN ('waiting', 'running')")
    op.create_index(
        'ix_collection_run_live',
        'collection_run',
        ['group_id'],
        sqlite_where=is_live,
        postgresql_where=is_live,
    )


def downgrade() -> None:
    op.drop_index('ix_collection_run_live', table_name='collection_run')
