"""remember which silenced messages have been gone through once their silence was over

Revision: 0028, of 2026-11-30 19:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None

KEPT_BACK = "state = 'silenced' AND reviewed_at IS NULL"


def upgrade() -> None:
    op.add_column('alert_delivery', sa.Column('reviewed_at', sa.DateTime(), nullable=True))
    op.execute("UPDATE alert_delivery SET reviewed_at = ended_at WHERE state = 'silenced'")
    op.create_index(
        'ix_alert_delivery_kept_back',
        'alert_delivery',
        ['state', 'id'],
        sqlite_where=sa.text(KEPT_BACK),
        postgresql_where=sa.text(KEPT_BACK),
    )


def downgrade() -> None:
    op.drop_index('ix_alert_delivery_kept_back', 'alert_delivery')
    op.drop_column('alert_delivery', 'reviewed_at')
