"""remember how far a collection has come with what is absent from it, whatever the clock says

Revision: 0027, of 2026-11-30 15:35:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0027'
down_revision = '0026'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'collection_run',
        sa.Column(
            'absent_up_to',
            sa.BigInteger().with_variant(sa.Integer(), 'sqlite'),
            server_default='0',
            nullable=False,
        ),
    )


def downgrade() -> None:
    op.drop_column('collection_run', 'absent_up_to')
