"""count what plans begin, and their breakers, by group and fixer

Revision: 0014, of 2026-11-29 09:45:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

FIXER_OF_PLAN = (
    'UPDATE begun_repair SET fixer_code = '
    "COALESCE((SELECT plan.fixer_code FROM plan WHERE plan.id = begun_repair.plan_id), '')"
)
SUMMED = ['begun_at', 'is_new', 'currency', 'amount_minor']
ENDED = ['ended_at', 'outcome']


def upgrade() -> None:
    op.add_column(
        'begun_repair', sa.Column('fixer_code', sa.String(length=80), server_default='', nullable=False)
    )
    op.execute(FIXER_OF_PLAN)
    op.drop_index('ix_begun_repair_plan_id_begun_at', table_name='begun_repair')
    op.drop_index('ix_begun_repair_plan_id_ended_at', table_name='begun_repair')
    key = ['group_id', 'fixer_code']
    op.create_index('ix_begun_repair_fixer_code_begun_at', 'begun_repair', key + SUMMED)
    op.create_index('ix_begun_repair_fixer_code_ended_at', 'begun_repair', key + ENDED)
    op.drop_index('ix_breaker_scope_subject_id_id', table_name='breaker')
    op.create_index(
        'ix_breaker_group_id_scope_subject_name_id', 'breaker', ['group_id', 'scope', 'subject_name', 'id']
    )


def downgrade() -> None:
    op.drop_index('ix_breaker_group_id_scope_subject_name_id', table_name='breaker')
    op.create_index('ix_breaker_scope_subject_id_id', 'breaker', ['scope', 'subject_id', 'id'])
    op.drop_index('ix_begun_repair_fixer_code_ended_at', table_name='begun_repair')
    op.drop_index('ix_begun_repair_fixer_code_begun_at', table_name='begun_repair')
    op.create_index('ix_begun_repair_plan_id_begun_at', 'begun_repair', ['plan_id', *SUMMED])
    op.create_index('ix_begun_repair_plan_id_ended_at', 'begun_repair', ['plan_id', *ENDED])
    op.drop_column('begun_repair', 'fixer_code')
