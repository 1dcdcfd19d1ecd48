"""keep what people order of money, and what an agent must be able to do for a command

Revision: 0010, after 0006f, of 2026-11-28 20:05:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
LIVE = sa.text("state IN ('proposed', 'issued')")


def upgrade() -> None:
    with op.batch_alter_table('command') as batch:
        batch.add_column(sa.Column('feature', sa.String(length=40), nullable=True))
    op.create_table(
        'money_order',
        sa.Column('id', BIG, nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column('anomaly_id', BIG, nullable=False),
        sa.Column('trade_no', sa.String(length=64), nullable=False),
        sa.Column('action', sa.String(length=16), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('amount_minor', BIG, nullable=False),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('row_hash', sa.String(length=64), nullable=False),
        sa.Column('facts_hash', sa.String(length=64), nullable=False),
        sa.Column('needs_second', sa.Boolean(), nullable=False),
        sa.Column('limit_minor', BIG, nullable=False),
        sa.Column('proposed_by_id', sa.Integer(), nullable=False),
        sa.Column('proposed_by', sa.String(length=80), nullable=False),
        sa.Column('reason', sa.String(length=500), nullable=False),
        sa.Column('proposed_at', sa.DateTime(), nullable=False),
        sa.Column('expires_at', sa.DateTime(), nullable=False),
        sa.Column('confirmed_by_id', sa.Integer(), nullable=True),
        sa.Column('confirmed_by', sa.String(length=80), nullable=False),
        sa.Column('confirm_reason', sa.String(length=500), nullable=False),
        sa.Column('issued_at', sa.DateTime(), nullable=True),
        sa.Column('attempt_id', BIG, nullable=True),
        sa.Column('outcome', sa.String(length=20), nullable=True),
        sa.Column('outcome_reason', sa.String(length=500), nullable=False),
        sa.Column('closed_by', sa.String(length=80), nullable=False),
        sa.Column('closed_reason', sa.String(length=500), nullable=False),
        sa.Column('closed_at', sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "state IN ('proposed', 'issued', 'done', 'rejected', 'withdrawn', 'expired')",
            name=op.f('ck_money_order_state'),
        ),
        sa.CheckConstraint("action IN ('pay_again', 'reverse')", name=op.f('ck_money_order_action')),
        sa.CheckConstraint(
            'confirmed_by_id IS NULL OR confirmed_by_id <> proposed_by_id',
            name=op.f('ck_money_order_two_people'),
        ),
        sa.CheckConstraint(
            "NOT needs_second OR confirmed_by_id IS NOT NULL OR state NOT IN ('issued', 'done')",
            name=op.f('ck_money_order_confirmed'),
        ),
        sa.ForeignKeyConstraint(
            ['anomaly_id'], ['anomaly.id'], name=op.f('fk_money_order_anomaly_id_anomaly'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['confirmed_by_id'], ['user.id'], name=op.f('fk_money_order_confirmed_by_id_user')
        ),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_money_order_group_id_system_group')
        ),
        sa.ForeignKeyConstraint(
            ['proposed_by_id'], ['user.id'], name=op.f('fk_money_order_proposed_by_id_user')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_money_order')),
    )
    op.create_index(op.f('ix_money_order_anomaly_id'), 'money_order', ['anomaly_id'])
    op.create_index('ix_money_order_state_id', 'money_order', ['state', 'id'])
    op.create_index(
        'uq_money_order_live_trade',
        'money_order',
        ['group_id', 'trade_no'],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_table(
        'money_order_limit',
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column('second_person_above_minor', BIG, nullable=False),
        sa.Column('changed_by', sa.String(length=80), nullable=False),
        sa.Column('changed_at', sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ['group_id'],
            ['system_group.id'],
            name=op.f('fk_money_order_limit_group_id_system_group'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('group_id', name=op.f('pk_money_order_limit')),
    )


def downgrade() -> None:
    op.drop_table('money_order_limit')
    op.drop_table('money_order')
    with op.batch_alter_table('command') as batch:
        batch.drop_column('feature')
