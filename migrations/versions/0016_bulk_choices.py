"""keep of each trade of a bulk repair what was chosen: its fixer, amount and currency

Revision: 0016, of 2026-11-29 15:20:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    # What was chosen before stays empty: what its trade says now, nobody may have chosen.
    op.add_column('bulk_item', sa.Column('fixer_code', sa.String(length=80), server_default='', nullable=False))
    op.add_column('bulk_item', sa.Column('amount_minor', BIG, nullable=True))
    op.add_column('bulk_item', sa.Column('currency', sa.String(length=3), server_default='', nullable=False))


def downgrade() -> None:
    for column in ('currency', 'amount_minor', 'fixer_code'):
        op.drop_column('bulk_item', column)
