"""remember up to which command a plan was narrowed, so that the rest of its queue is withdrawn in turn

Revision: 0020, of 2026-11-29 16:35:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('plan', sa.Column('narrowed_seq', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column('plan', 'narrowed_seq')
