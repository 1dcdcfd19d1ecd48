"""keep since when an outcome is unknown, and what people say was healed outside

Revision: 0011, after 0006, of 2026-11-28 19:50:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('anomaly', sa.Column('unknown_since', sa.DateTime(), nullable=True))
    # What waits after an attempt of unknown outcome is verified before it is attempted again.
    op.execute(
        "UPDATE anomaly SET unknown_since = changed_at WHERE state = 'waiting' AND EXISTS ("
        'SELECT 1 FROM attempt WHERE attempt.anomaly_id = anomaly.id AND attempt.number = anomaly.attempts '
        "AND attempt.outcome IN ('unknown', 'superseded'))"
    )
    op.create_table(
        'outside_claim',
        sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
        sa.Column('anomaly_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
        sa.Column('command_id', sa.String(length=32), nullable=False),
        sa.Column('reference', sa.String(length=120), nullable=False),
        sa.Column('reason', sa.String(length=500), nullable=False),
        sa.Column('actor_id', sa.Integer(), nullable=True),
        sa.Column('actor_name', sa.String(length=80), nullable=False),
        sa.Column('made_at', sa.DateTime(), nullable=False),
        sa.Column('ended_at', sa.DateTime(), nullable=True),
        sa.Column('outcome', sa.String(length=16), nullable=True),
        sa.Column('told', sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ['anomaly_id'],
            ['anomaly.id'],
            name=op.f('fk_outside_claim_anomaly_id_anomaly'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_outside_claim')),
        sa.UniqueConstraint('command_id', name=op.f('uq_outside_claim_command_id')),
    )
    op.create_index('ix_outside_claim_anomaly_id_id', 'outside_claim', ['anomaly_id', 'id'])
    op.create_index(
        'uq_outside_claim_pending',
        'outside_claim',
        ['anomaly_id'],
        unique=True,
        sqlite_where=sa.text('ended_at IS NULL'),
        postgresql_where=sa.text('ended_at IS NULL'),
    )


def downgrade() -> None:
    op.drop_table('outside_claim')
    # Not in a batch: SQLite would make the table anew, without its indexes on expressions.
    op.drop_column('anomaly', 'unknown_since')
