"""keep counts by the quarter of an hour

Days begin at the quarter of an hour in some zones. What was kept by the hour counts for its first quarter.

Revision: 0004, after 0003, of 2026-11-20 14:25:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    _move('hourly_count', 'hour', 'quarter_count', 'quarter')


def downgrade() -> None:
    _move('quarter_count', 'quarter', 'hourly_count', 'hour')


def _move(old: str, old_column: str, new: str, new_column: str) -> None:
    """Make the table anew under its other name, with one row of each group, name and time of the old one."""
    op.create_table(
        new,
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column(new_column, sa.DateTime(), nullable=False),
        sa.Column('name', sa.String(length=40), nullable=False),
        sa.Column('count', sa.Integer(), nullable=False),
        sa.Column('amount_minor', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f(f'pk_{new}')),
        sa.UniqueConstraint('group_id', new_column, 'name', name=op.f(f'uq_{new}_group_id_{new_column}_name')),
    )
    op.create_index(op.f(f'ix_{new}_{new_column}'), new, [new_column])
    columns = 'group_id, {}, name, count, amount_minor'
    op.execute(
        f'INSERT INTO {new} ({columns.format(new_column)}) SELECT {columns.format(old_column)} FROM {old}'
    )
    op.drop_table(old)
