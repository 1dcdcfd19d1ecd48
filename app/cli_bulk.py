"""``flask repair`` of several trades: begins bulk repairs and follows them."""

from collections.abc import Callable, Sequence
from typing import Final

import click
from sqlalchemy import select

from app.anomalies.queries import AnomalyFilter
from app.cli_accounts import command_actor, refusing
from app.clock import current_time
from app.executions import bulk
from app.executions.bulk_models import BulkRepair
from app.executions.starting import Order
from app.extensions import db
from app.unit_of_work import unit_of_work

FAILED: Final = 1
NOTHING_TO_DO: Final = 3

Wait = Callable[[Callable[[], bool]], None]
"""Looks again until the given is true; exits where that takes too long."""


def repair_bulk(anomaly_ids: Sequence[int], reason: str) -> tuple[list[int], int | None]:
    """Begin to repair anomalies; return the bulk repairs, or the attempt where only one could be attempted.

    Exits 3 where none could.
    """
    with refusing(), unit_of_work() as session:
        order = Order("command_line", command_actor(), reason, current_time())
        begun = bulk.begin(session, AnomalyFilter(ids=tuple(anomaly_ids)), order)
        bulk_ids = [one.id for one in begun.bulks]
    for bulk_id in bulk_ids:
        click.echo(f"bulk {bulk_id}")
    if begun.attempt is not None:
        click.echo(f"attempt {begun.attempt.id}")
    if begun.skipped:
        click.echo(f"{begun.skipped} cannot be attempted now", err=True)
    if not begun.sent:
        raise SystemExit(NOTHING_TO_DO)
    return bulk_ids, None if begun.attempt is None else begun.attempt.id


def follow(bulk_ids: Sequence[int], wait: Wait) -> None:
    """Print each change of bulk repairs until all have ended or are paused; exit 1 unless all went well."""
    told: dict[int, str] = {}

    def have_come_to_rest() -> bool:
        bulks = _bulks(bulk_ids)
        for one in bulks:
            if told.get(one.id) != progress(one):
                told[one.id] = progress(one)
                click.echo(told[one.id])
        return all(one.state != "running" and not one.under_way for one in bulks)

    wait(have_come_to_rest)
    if any(one.state != "finished" or one.failed or one.skipped for one in _bulks(bulk_ids)):
        raise SystemExit(FAILED)


def progress(one: BulkRepair) -> str:
    """Return how far a bulk repair is, on one line."""
    counts = f"{one.done} done, {one.failed} failed, {one.skipped} skipped of {one.total}"
    why = " ".join(filter(None, (one.pause_code, one.pause_trade_no, one.pause_detail)))
    return f"bulk {one.id} {one.state}, stage {one.stage}: {counts}{f' ({why})' if why else ''}"


def _bulks(bulk_ids: Sequence[int]) -> Sequence[BulkRepair]:
    found = select(BulkRepair).where(BulkRepair.id.in_(bulk_ids)).order_by(BulkRepair.id)
    return db.session.scalars(found).unique().all()
