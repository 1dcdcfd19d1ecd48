"""let channels that hear of trades for a person hear of money orders that wait for one

Revision: 0022, of 2026-11-29 20:10:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0022'
down_revision = '0021'
branch_labels = None
depends_on = None

CHANNEL = sa.table('alert_channel', sa.column('id', sa.Integer()), sa.column('kinds', sa.JSON()))


def upgrade() -> None:
    for channel_id, kinds in _channels():
        if 'needs_human' in kinds and 'order_waits' not in kinds:
            _write(channel_id, [*kinds, 'order_waits'])


def downgrade() -> None:
    for channel_id, kinds in _channels():
        if 'order_waits' in kinds:
            _write(channel_id, [kind for kind in kinds if kind != 'order_waits'])


def _channels() -> list[tuple[int, list[str]]]:
    return [(row.id, row.kinds) for row in op.get_bind().execute(sa.select(CHANNEL.c.id, CHANNEL.c.kinds))]


def _write(channel_id: int, kinds: list[str]) -> None:
    op.execute(sa.update(CHANNEL).where(CHANNEL.c.id == channel_id).values(kinds=kinds))
