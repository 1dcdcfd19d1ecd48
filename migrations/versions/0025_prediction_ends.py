"""keep how an anomaly ended of which something was foretold

Revision: 0025, of 2026-11-29 20:25:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('prediction', sa.Column('ended', sa.String(length=12), nullable=True))


def downgrade() -> None:
    op.drop_column('prediction', 'ended')
