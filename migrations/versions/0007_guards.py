"""keep limits and breakers of plans and groups, and what they count

Revision: 0007, after 0006, of 2026-11-28 19:45:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
BREAKER = (
    ('breaker_failures', sa.Integer()),
    ('breaker_attempts', sa.Integer()),
    ('breaker_returns', sa.Integer()),
    ('breaker_hour_minor', sa.BigInteger()),
)
COLUMNS = {
    'system_group': BREAKER,
    'plan': (
        ('limit_trade_minor', sa.BigInteger()),
        ('limit_hour_minor', sa.BigInteger()),
        ('limit_hour_count', sa.Integer()),
        ('limit_day_minor', sa.BigInteger()),
        ('limit_day_count', sa.Integer()),
        *BREAKER,
    ),
    'anomaly': (
        ('returned_of', BIG_ID),
        ('hold_code', sa.String(length=20)),
        ('hold_detail', sa.JSON()),
        ('hold_terms', sa.String(length=120)),
        ('held_at', sa.DateTime()),
    ),
}
"""All may be empty: no limit, the default threshold, no hold. SQLite adds and drops them in place."""
PARTIAL = {
    'ix_anomaly_held': (['group_id', 'fixer_code'], sa.text('hold_code IS NOT NULL')),
    'ix_anomaly_returned': (['group_id', 'first_seen_at', 'fixer_code'], sa.text('returned_of IS NOT NULL')),
}


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    for name, (indexed, where) in PARTIAL.items():
        op.create_index(name, 'anomaly', indexed, sqlite_where=where, postgresql_where=where)
    _create_begun_repair()
    _create_breaker()


def downgrade() -> None:
    op.drop_table('breaker')
    op.drop_table('begun_repair')
    for name in PARTIAL:
        op.drop_index(name, table_name='anomaly')
    for table, columns in COLUMNS.items():
        for name, _kind in columns:
            op.drop_column(table, name)


def _create_begun_repair() -> None:
    op.create_table(
        'begun_repair',
        sa.Column('id', BIG_ID, nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column('plan_id', sa.Integer(), nullable=False),
        sa.Column('command_id', sa.String(length=32), nullable=False),
        sa.Column('is_new', sa.Boolean(), nullable=False),
        sa.Column('amount_minor', BIG_ID, nullable=True),
        sa.Column('currency', sa.String(length=3), nullable=False),
        sa.Column('begun_at', sa.DateTime(), nullable=False),
        sa.Column('outcome', sa.String(length=20), nullable=True),
        sa.Column('ended_at', sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_begun_repair')),
        sa.UniqueConstraint('command_id', name=op.f('uq_begun_repair_command_id')),
    )
    begun = ['plan_id', 'begun_at', 'is_new', 'currency', 'amount_minor']
    op.create_index('ix_begun_repair_plan_id_begun_at', 'begun_repair', begun)
    op.create_index('ix_begun_repair_plan_id_ended_at', 'begun_repair', ['plan_id', 'ended_at', 'outcome'])
    op.create_index('ix_begun_repair_group_id_ended_at', 'begun_repair', ['group_id', 'ended_at', 'outcome'])


def _create_breaker() -> None:
    op.create_table(
        'breaker',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('scope', sa.String(length=8), nullable=False),
        sa.Column('subject_id', sa.Integer(), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column('subject_name', sa.String(length=80), nullable=False),
        sa.Column('code', sa.String(length=16), nullable=False),
        sa.Column('figures', sa.JSON(), nullable=False),
        sa.Column('tripped_at', sa.DateTime(), nullable=False),
        sa.Column('reset_at', sa.DateTime(), nullable=True),
        sa.Column('reset_by', sa.String(length=80), nullable=False),
        sa.Column('reset_reason', sa.String(length=500), nullable=False),
        sa.CheckConstraint("scope IN ('plan', 'group')", name=op.f('ck_breaker_scope')),
        sa.CheckConstraint("code IN ('failures', 'returns', 'amount')", name=op.f('ck_breaker_code')),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_breaker_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_breaker')),
    )
    op.create_index('ix_breaker_scope_subject_id_id', 'breaker', ['scope', 'subject_id', 'id'])
    tripped = sa.text('reset_at IS NULL')
    op.create_index(
        'uq_breaker_tripped',
        'breaker',
        ['scope', 'subject_id'],
        unique=True,
        sqlite_where=tripped,
        postgresql_where=tripped,
    )
