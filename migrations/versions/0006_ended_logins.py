"""keep which logins were ended by a logout

Revision: 0006, after 0005, of 2026-11-28 17:52:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'ended_login',
        sa.Column('login_id', sa.String(length=40), nullable=False),
        sa.Column('at', sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint('login_id', name=op.f('pk_ended_login')),
    )
    op.create_index(op.f('ix_ended_login_at'), 'ended_login', ['at'])


def downgrade() -> None:
    op.drop_index(op.f('ix_ended_login_at'), table_name='ended_login')
    op.drop_table('ended_login')
