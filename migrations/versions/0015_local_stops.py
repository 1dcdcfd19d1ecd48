"""keep since when the server knows of an agent's local stop

Revision: 0015, of 2026-11-29 13:00:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('agent', sa.Column('stopped_here_at', sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column('agent', 'stopped_here_at')
