"""count the changes of a group, so that a form opened before one of them overwrites nothing

Revision: 0017, of 2026-11-29 15:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('system_group', sa.Column('version', sa.Integer(), server_default='1', nullable=False))


def downgrade() -> None:
    op.drop_column('system_group', 'version')
