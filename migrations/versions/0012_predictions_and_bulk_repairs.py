"""keep what a plan would have done, and bulk repairs by stages

Revision: 0012, of 2026-11-28 19:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
NEWEST = sa.text('is_newest')
LIVE = sa.text("state = 'running' OR under_way > 0")


def upgrade() -> None:
    op.add_column('plan', sa.Column('is_shadow', sa.Boolean(), server_default=sa.false(), nullable=False))
    _make_predictions()
    _make_bulk_repairs()
    _make_bulk_items()


def _make_predictions() -> None:
    op.create_table(
        'prediction',
        sa.Column('id', BIG, nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column('anomaly_id', BIG, nullable=False),
        sa.Column('trade_no', sa.String(length=64), nullable=False),
        sa.Column('plan_id', sa.Integer(), nullable=True),
        sa.Column('plan_version', sa.Integer(), nullable=True),
        sa.Column('trigger', sa.String(length=8), nullable=False),
        sa.Column('actor_name', sa.String(length=80), nullable=False),
        sa.Column('fixer_code', sa.String(length=80), nullable=True),
        sa.Column('outcome', sa.String(length=12), nullable=False),
        sa.Column('reason', sa.String(length=200), nullable=False),
        sa.Column('steps', sa.JSON(), nullable=False),
        sa.Column('row', sa.JSON(), nullable=True),
        sa.Column('row_hash', sa.String(length=64), nullable=False),
        sa.Column('after', sa.JSON(), nullable=True),
        sa.Column('facts', sa.JSON(), nullable=True),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('is_newest', sa.Boolean(), nullable=False),
        sa.Column('looks', sa.Integer(), nullable=False),
        sa.Column('at', sa.DateTime(), nullable=False),
        sa.Column('looked_at', sa.DateTime(), nullable=False),
        sa.Column('result', sa.String(length=8), nullable=True),
        sa.Column('differing', sa.JSON(), nullable=True),
        sa.Column('actual', sa.JSON(), nullable=True),
        sa.Column('actual_by', sa.String(length=8), nullable=True),
        sa.Column('compared_at', sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('repair', 'wait', 'human', 'consistent')", name=op.f('ck_prediction_outcome')
        ),
        sa.CheckConstraint("result IN ('matched', 'differs')", name=op.f('ck_prediction_result')),
        sa.ForeignKeyConstraint(
            ['anomaly_id'], ['anomaly.id'], name=op.f('fk_prediction_anomaly_id_anomaly'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_prediction_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_prediction')),
    )
    op.create_index('ix_prediction_anomaly_id_id', 'prediction', ['anomaly_id', 'id'])
    op.create_index(
        'uq_prediction_newest',
        'prediction',
        ['anomaly_id'],
        unique=True,
        sqlite_where=NEWEST,
        postgresql_where=NEWEST,
    )
    op.create_index('ix_prediction_plan_id_id', 'prediction', ['plan_id', 'id'])
    op.create_index('ix_prediction_plan_id_outcome_id', 'prediction', ['plan_id', 'outcome', 'id'])
    op.create_index('ix_prediction_plan_id_result_id', 'prediction', ['plan_id', 'result', 'id'])


def _make_bulk_repairs() -> None:
    op.create_table(
        'bulk_repair',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('group_id', sa.Integer(), nullable=False),
        sa.Column('state', sa.String(length=8), nullable=False),
        sa.Column('stage', sa.Integer(), nullable=False),
        sa.Column('trigger', sa.String(length=16), nullable=False),
        sa.Column('actor_id', sa.Integer(), nullable=True),
        sa.Column('actor_name', sa.String(length=80), nullable=False),
        sa.Column('reason', sa.String(length=500), nullable=False),
        sa.Column('pause_code', sa.String(length=40), nullable=False),
        sa.Column('pause_detail', sa.String(length=500), nullable=False),
        sa.Column('pause_trade_no', sa.String(length=64), nullable=False),
        sa.Column('total', sa.Integer(), nullable=False),
        sa.Column('under_way', sa.Integer(), nullable=False),
        sa.Column('done', sa.Integer(), nullable=False),
        sa.Column('failed', sa.Integer(), nullable=False),
        sa.Column('skipped', sa.Integer(), nullable=False),
        sa.Column('created_at', sa.DateTime(), nullable=False),
        sa.Column('changed_at', sa.DateTime(), nullable=False),
        sa.Column('finished_at', sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'finished', 'stopped')", name=op.f('ck_bulk_repair_state')
        ),
        sa.CheckConstraint('stage BETWEEN 1 AND 3', name=op.f('ck_bulk_repair_stage')),
        sa.ForeignKeyConstraint(
            ['group_id'], ['system_group.id'], name=op.f('fk_bulk_repair_group_id_system_group')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_bulk_repair')),
    )
    op.create_index('ix_bulk_repair_group_id_id', 'bulk_repair', ['group_id', 'id'])
    op.create_index('ix_bulk_repair_live', 'bulk_repair', ['id'], sqlite_where=LIVE, postgresql_where=LIVE)


def _make_bulk_items() -> None:
    op.create_table(
        'bulk_item',
        sa.Column('id', BIG, nullable=False),
        sa.Column('bulk_id', sa.Integer(), nullable=False),
        sa.Column('anomaly_id', BIG, nullable=False),
        sa.Column('trade_no', sa.String(length=64), nullable=False),
        sa.Column('stage', sa.Integer(), nullable=True),
        sa.Column('state', sa.String(length=10), nullable=False),
        sa.Column('attempt_id', BIG, nullable=True),
        sa.Column('verify_command_id', sa.String(length=32), nullable=True),
        sa.Column('outcome', sa.String(length=40), nullable=False),
        sa.Column('detail', sa.String(length=500), nullable=False),
        sa.Column('verified', sa.String(length=12), nullable=False),
        sa.Column('ask_at', sa.DateTime(), nullable=True),
        sa.Column('began_at', sa.DateTime(), nullable=True),
        sa.Column('repaired_at', sa.DateTime(), nullable=True),
        sa.Column('ended_at', sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'repairing', 'verifying', 'done', 'failed', 'skipped')",
            name=op.f('ck_bulk_item_state'),
        ),
        sa.ForeignKeyConstraint(
            ['anomaly_id'], ['anomaly.id'], name=op.f('fk_bulk_item_anomaly_id_anomaly'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['bulk_id'], ['bulk_repair.id'], name=op.f('fk_bulk_item_bulk_id_bulk_repair'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_bulk_item')),
        sa.UniqueConstraint('bulk_id', 'anomaly_id', name=op.f('uq_bulk_item_bulk_id_anomaly_id')),
    )
    op.create_index('ix_bulk_item_bulk_id_state_id', 'bulk_item', ['bulk_id', 'state', 'id'])
    op.create_index('ix_bulk_item_bulk_id_stage_state', 'bulk_item', ['bulk_id', 'stage', 'state'])
    op.create_index('ix_bulk_item_anomaly_id', 'bulk_item', ['anomaly_id'])
    op.create_index(op.f('ix_bulk_item_verify_command_id'), 'bulk_item', ['verify_command_id'])


def downgrade() -> None:
    op.drop_table('bulk_item')
    op.drop_table('bulk_repair')
    op.drop_table('prediction')
    op.drop_column('plan', 'is_shadow')
