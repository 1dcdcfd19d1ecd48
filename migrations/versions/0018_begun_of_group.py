"""find what a group has begun since a moment without reading all it has begun in days

Revision: 0018, of 2026-11-29 16:25:00
"""

from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        'ix_begun_repair_group_id_begun_at',
        'begun_repair',
        ['group_id', 'begun_at', 'is_new', 'currency', 'amount_minor'],
    )


def downgrade() -> None:
    op.drop_index('ix_begun_repair_group_id_begun_at', table_name='begun_repair')
