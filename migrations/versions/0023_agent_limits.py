"""keep what agents say their own configuration lets them do at most

Revision: 0023, of 2026-11-29 20:25:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0023'
down_revision = '0022'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent', sa.Column('limits', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('agent', 'limits')
