"""keep stops of repairs, and what agents say of themselves: features, their local stop

Revision: 0008, after 0006, of 2026-11-28 20:00:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

STANDING = sa.text('lifted_at IS NULL')
STOPPED_HERE = sa.text('stopped_here IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'stop',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('scope', sa.String(length=8), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=True),
        sa.Column('agent_id', sa.Integer(), nullable=True),
        sa.Column('name', sa.String(length=80), nullable=False),
        sa.Column('reason', sa.String(length=500), nullable=False),
        sa.Column('set_by', sa.String(length=80), nullable=False),
        sa.Column('set_at', sa.DateTime(), nullable=False),
        sa.Column('lifted_by', sa.String(length=80), nullable=True),
        sa.Column('lifted_at', sa.DateTime(), nullable=True),
        sa.Column('lift_reason', sa.String(length=500), nullable=True),
        sa.CheckConstraint("scope IN ('all', 'group', 'agent')", name=op.f('ck_stop_scope')),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_stop_group_id_system_group')
        ),
        sa.ForeignKeyConstraint(['agent_id'], ['agent.id'], name=op.f('fk_stop_agent_id_agent')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_stop')),
    )
    op.create_index(
        'uq_stop_standing',
        'stop',
        ['scope', sa.text('coalesce(group_id, 0)'), sa.text('coalesce(agent_id, 0)')],
        unique=True,
        sqlite_where=STANDING,
        postgresql_where=STANDING,
    )
    with op.batch_alter_table('agent') as batch:
        batch.add_column(sa.Column('features', sa.JSON(), server_default='[]', nullable=False))
        batch.add_column(sa.Column('stopped_here', sa.String(length=300), nullable=True))
    op.create_index(
        'ix_agent_stopped_here',
        'agent',
        ['id'],
        sqlite_where=STOPPED_HERE,
        postgresql_where=STOPPED_HERE,
    )


def downgrade() -> None:
    op.drop_index('ix_agent_stopped_here', table_name='agent')
    with op.batch_alter_table('agent') as batch:
        batch.drop_column('stopped_here')
        batch.drop_column('features')
    op.drop_index('uq_stop_standing', table_name='stop')
    op.drop_table('stop')
