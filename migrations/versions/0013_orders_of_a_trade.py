"""find the orders of a trade, whichever anomaly they were given on

Revision: 0013, of 2026-11-29 09:00:00
"""

from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_money_order_trade_no', 'money_order', ['trade_no'])


def downgrade() -> None:
    op.drop_index('ix_money_order_trade_no', table_name='money_order')
