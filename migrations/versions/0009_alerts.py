"""tell people beyond the console: channels, silences, events, deliveries

Revision: 0009, after 0006, of 2026-11-28 19:50:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

big_id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    _create_channels()
    _create_silences()
    _create_events()
    _create_deliveries()


def _create_channels() -> None:
    op.create_table(
        'alert_channel',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('name', sa.String(length=80), nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('url', sa.Text(), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=True),
        sa.Column('kinds', sa.JSON(), nullable=False),
        sa.Column('least_level', sa.Integer(), nullable=False),
        sa.Column('language', sa.String(length=2), nullable=False),
        sa.Column('grouping_seconds', sa.Integer(), nullable=False),
        sa.Column('quiet_from', sa.String(length=5), nullable=False),
        sa.Column('quiet_to', sa.String(length=5), nullable=False),
        sa.Column('zone', sa.String(length=40), nullable=False),
        sa.Column('tells_recovery', sa.Boolean(), nullable=False),
        sa.Column('is_enabled', sa.Boolean(), nullable=False),
        sa.Column('rests_until', sa.DateTime(), nullable=True),
        sa.Column('failing_since', sa.DateTime(), nullable=True),
        sa.Column('last_sent_at', sa.DateTime(), nullable=True),
        sa.Column('last_error', sa.String(length=300), nullable=False),
        sa.Column('created_at', sa.DateTime(), nullable=False),
        sa.Column('updated_at', sa.DateTime(), nullable=False),
        sa.Column('updated_by', sa.String(length=80), nullable=False),
        sa.CheckConstraint(
            "kind IN ('dingtalk', 'wecom', 'feishu', 'mail', 'slack', 'webhook')",
            name=op.f('ck_alert_channel_kind'),
        ),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_alert_channel_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_channel')),
        sa.UniqueConstraint('name', name=op.f('uq_alert_channel_name')),
    )


def _create_silences() -> None:
    op.create_table(
        'alert_silence',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('kind', sa.String(length=20), nullable=True),
        sa.Column('group_id', sa.Integer(), nullable=True),
        sa.Column('until', sa.DateTime(), nullable=False),
        sa.Column('reason', sa.String(length=500), nullable=False),
        sa.Column('created_at', sa.DateTime(), nullable=False),
        sa.Column('created_by', sa.String(length=80), nullable=False),
        sa.Column('ended_at', sa.DateTime(), nullable=True),
        sa.Column('ended_by', sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_alert_silence_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_silence')),
    )
    op.create_index(op.f('ix_alert_silence_until'), 'alert_silence', ['until'])


def _create_events() -> None:
    op.create_table(
        'alert_event',
        sa.Column('id', big_id, nullable=False),
        sa.Column('at', sa.DateTime(), nullable=False),
        sa.Column('kind', sa.String(length=20), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=True),
        sa.Column('key', sa.String(length=120), nullable=False),
        sa.Column('is_recovery', sa.Boolean(), nullable=False),
        sa.Column('params', sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_alert_event_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_event')),
    )
    op.create_table(
        'alert_condition',
        sa.Column('identity', sa.String(length=180), nullable=False),
        sa.Column('kind', sa.String(length=20), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=True),
        sa.Column('key', sa.String(length=120), nullable=False),
        sa.Column('since', sa.DateTime(), nullable=False),
        sa.Column('params', sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_alert_condition_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('identity', name=op.f('pk_alert_condition')),
    )
    op.create_index(op.f('ix_alert_condition_kind'), 'alert_condition', ['kind'])


def _create_deliveries() -> None:
    op.create_table(
        'alert_delivery',
        sa.Column('id', big_id, nullable=False),
        sa.Column('channel_id', sa.Integer(), nullable=True),
        sa.Column('channel_name', sa.String(length=80), nullable=False),
        sa.Column('kind', sa.String(length=20), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=True),
        sa.Column('is_recovery', sa.Boolean(), nullable=False),
        sa.Column('is_test', sa.Boolean(), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('event_count', sa.Integer(), nullable=False),
        sa.Column('samples', sa.JSON(), nullable=False),
        sa.Column('window_seconds', sa.Integer(), nullable=False),
        sa.Column('title', sa.String(length=200), nullable=False),
        sa.Column('body', sa.Text(), nullable=False),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('last_error', sa.String(length=300), nullable=False),
        sa.Column('created_at', sa.DateTime(), nullable=False),
        sa.Column('due_at', sa.DateTime(), nullable=False),
        sa.Column('claimed_at', sa.DateTime(), nullable=True),
        sa.Column('ended_at', sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'failed', 'silenced', 'dropped')",
            name=op.f('ck_alert_delivery_state'),
        ),
        sa.ForeignKeyConstraint(
            ['channel_id'],
            ['alert_channel.id'],
            name=op.f('fk_alert_delivery_channel_id_alert_channel'),
            ondelete='SET NULL',
        ),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_alert_delivery_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_alert_delivery')),
    )
    alike = ['channel_id', 'kind', 'group_id', 'id']
    op.create_index('ix_alert_delivery_channel_id_kind_group_id_id', 'alert_delivery', alike)
    op.create_index('ix_alert_delivery_group_id_id', 'alert_delivery', ['group_id', 'id'])
    op.create_index(op.f('ix_alert_delivery_created_at'), 'alert_delivery', ['created_at'])
    is_undone = sa.text("state IN ('pending', 'sending')")
    op.create_index(
        'ix_alert_delivery_undone',
        'alert_delivery',
        ['channel_id', 'due_at'],
        sqlite_where=is_undone,
        postgresql_where=is_undone,
    )


def downgrade() -> None:
    for table in ('alert_delivery', 'alert_condition', 'alert_event', 'alert_silence', 'alert_channel'):
        op.drop_table(table)
