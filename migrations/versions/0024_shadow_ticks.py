"""let manual plans that are in shadow fall due

Revision: 0024, of 2026-11-29 20:05:00
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None

plan = sa.table(
    'plan',
    sa.column('mode', sa.String()),
    sa.column('state', sa.String()),
    sa.column('is_shadow', sa.Boolean()),
    sa.column('next_due_at', sa.DateTime()),
)


def upgrade() -> None:
    # At once: that tick sets the next one by the plan's cron.
    op.execute(
        plan.update()
        .where(plan.c.mode == 'manual', plan.c.state == 'normal', plan.c.is_shadow.is_(True))
        .values(next_due_at=datetime.now(UTC).replace(tzinfo=None))
    )


def downgrade() -> None:
    op.execute(plan.update().where(plan.c.mode == 'manual').values(next_due_at=None))
