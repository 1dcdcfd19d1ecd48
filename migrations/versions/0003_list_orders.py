"""index the lists' orders

Revision: 0003, after 0002, of 2026-11-20 14:05:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        'ix_anomaly_state_amount',
        'anomaly',
        ['state', sa.text('coalesce(amount_minor, -1)'), 'id', 'group_id', 'fixer_code'],
    )
    op.create_index(
        'ix_anomaly_state_last_seen_at', 'anomaly', ['state', 'last_seen_at', 'id', 'group_id', 'fixer_code']
    )
    op.create_index('ix_collection_run_state_id', 'collection_run', ['state', 'id'])
    op.create_index('ix_collection_run_trigger_id', 'collection_run', ['trigger', 'id'])
    op.drop_index('ix_attempt_outcome_id', table_name='attempt')
    op.create_index('ix_attempt_outcome_execution_id', 'attempt', ['outcome', 'execution_id'])
    has_ended = sa.text(
        "state IN ('finished', 'rejected', 'cancelled', 'expired', 'indeterminate', 'superseded')"
    )
    op.create_index(
        'ix_command_ended_agent',
        'command',
        ['agent_id', 'seq'],
        sqlite_where=has_ended,
        postgresql_where=has_ended,
    )


def downgrade() -> None:
    op.drop_index('ix_command_ended_agent', table_name='command')
    op.drop_index('ix_attempt_outcome_execution_id', table_name='attempt')
    op.create_index('ix_attempt_outcome_id', 'attempt', ['outcome', 'id'])
    op.drop_index('ix_collection_run_trigger_id', table_name='collection_run')
    op.drop_index('ix_collection_run_state_id', table_name='collection_run')
    op.drop_index('ix_anomaly_state_last_seen_at', table_name='anomaly')
    op.drop_index('ix_anomaly_state_amount', table_name='anomaly')
