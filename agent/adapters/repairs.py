"""Piculus's own three tables in production's database, inside a transaction that the caller holds.

Every function that writes first locks the repair's row by an UPDATE that compares the fence, so whatever it
reads afterwards is fresh, and a newer attempt shuts an older one out.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Insert, Row, TableClause, insert, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from agent.adapters.asked import given, moment_asked, number_asked, plain_asked, text_asked
from agent.adapters.holding import OPEN, Holding
from agent.adapters.rows import moment, naive, text, unpadded
from agent.adapters.tables import TradeTables
from agent.adapters.versions import Versions
from agent.errors import FencedError, PortError, RowChangedError
from agent.facts import Row as TradeRow
from agent.facts import Status
from agent.records import EPOCH, RepairRow, StepRow, Trade


class Repairs:
    """Reads and writes the repair of a trade.

    ``now`` is the database's clock in SQL, of this ``dialect``; ``holding`` locks the repair for its holder;
    ``rows_of`` reads the trade rows of a number inside a transaction.
    """

    def __init__(
        self,
        tables: TradeTables,
        now: ColumnElement[datetime],
        holding: Holding,
        rows_of: Callable[[Connection, str], list[Trade]],
        dialect: str,
    ) -> None:
        self._repair = tables.repair
        self._step = tables.step
        self._correction = tables.correction
        self._now = now
        self._holding = holding
        self._rows_of = rows_of
        self._versions = Versions(tables)
        repair, step, of_trade = self._repair.c, self._step.c, text_asked("trade_no")
        self._select = (
            select(self._repair, *(cell.label(f"of_step_{cell.name}") for cell in step))
            .select_from(self._repair)
            .outerjoin(self._step, step.trade_no == repair.trade_no)
            .where(repair.trade_no == of_trade)
            .order_by(step.seq)
        )
        self._lock = update(self._repair).where(repair.trade_no == of_trade).values(changed_at=now)
        self._renew = update(self._repair).where(repair.trade_no == of_trade).values(started_at=now)
        self._merge_step = _merging(self._step, dialect)
        self._insert_repair = insert(self._repair).values(
            {"trade_no": of_trade, **_BEGUN, "started_at": now, "changed_at": now}
        )
        self._insert_correction = insert(self._correction).values({**_CORRECTED, "written_at": now})

    def find(self, connection: Connection, trade_no: str) -> RepairRow | None:
        """The newest repair of the trade with its steps."""
        return _repair_of(connection.execute(self._select, given(trade_no=trade_no)).all())

    def claim(self, connection: Connection, claim: RepairRow, over: str | None) -> RepairRow:
        """Begin a repair or take an open one over, never under a lower fence than stands there, also where
        that repair is closed; under the same one only by the start that holds it or from ``over``.

        Raises FencedError.
        """
        repair = self._repair
        if connection.execute(self._lock, given(trade_no=claim.trade_no)).rowcount == 0:
            begun = given(trade_no=claim.trade_no, **self._begun(claim, 1))
            connection.execute(self._insert_repair, begun)
        else:
            standing = self.find(connection, claim.trade_no)
            if standing is None:
                raise PortError(f"the repair of {claim.trade_no} vanished while it was claimed")
            taking = self._taking(connection, claim, standing, over)
            holder = (repair.c.fence == standing.fence, repair.c.boot_id == standing.boot_id)
            taken = connection.execute(
                update(repair).where(repair.c.trade_no == claim.trade_no, *holder).values(taking)
            )
            if taken.rowcount != 1:
                raise FencedError(f"the repair of {claim.trade_no} was taken over meanwhile")
        claimed = self.find(connection, claim.trade_no)
        if claimed is None:
            raise PortError(f"the repair of {claim.trade_no} vanished while it was claimed")
        return claimed

    def require_as_seen(self, connection: Connection, seen: Trade) -> None:
        """Asked behind the lock of a claim. Raises RowChangedError unless the row is as it was read and the
        trade's only one, PortError where its version could not be kept.
        """
        if [row.row_hash for row in self._rows_of(connection, seen.trade_no)] != [seen.row_hash]:
            raise RowChangedError(f"the row of {seen.trade_no} is no longer what was read")
        self._versions.require_kept(connection, seen)

    def renew(self, connection: Connection, claim: RepairRow) -> None:
        """Date an open repair as begun now. Raises FencedError."""
        self._holding.hold(connection, claim)
        connection.execute(self._renew, given(trade_no=claim.trade_no))

    def record_steps(
        self, connection: Connection, claim: RepairRow, steps: Sequence[StepRow], at: datetime
    ) -> None:
        """Write steps under a held repair, ``at`` a time of its clock; one whose key stands is replaced."""
        if steps:
            connection.execute(self._merge_step, [self._values_of(claim, step, at) for step in steps])

    @staticmethod
    def _values_of(claim: RepairRow, step: StepRow, at: datetime) -> dict[str, object]:
        return given(
            step_key=step.key,
            trade_no=claim.trade_no,
            round=claim.round,
            seq=step.seq,
            name=step.name,
            state=step.state,
            moves_money=int(step.moves_money),
            started_at=naive(step.started_at or at),
            finished_at=None if step.finished_at is None else naive(step.finished_at),
            result=step.result,
            fence=claim.fence,
            agent=claim.agent,
            boot_id=claim.boot_id,
        )

    def close(
        self, connection: Connection, claim: RepairRow, state: str, steps: Sequence[StepRow] = ()
    ) -> datetime:
        """Set a repair done or abandoned, its last steps with it; return when. Raises FencedError."""
        at = self._holding.end(connection, claim, state, is_open=bool(steps))
        self.record_steps(connection, claim, steps, at)
        return at

    def keep_old_row(
        self, connection: Connection, claim: RepairRow, before: dict[str, object], old: Trade, new: TradeRow
    ) -> None:
        """Write the correction record. ``before`` holds every column read, as it was."""
        kept = given(
            trade_no=claim.trade_no,
            round=claim.round,
            old_version=old.version,
            trade_id=old.trade_id,
            fixer_code=claim.fixer_code,
            fence=claim.fence,
            agent=claim.agent,
            boot_id=claim.boot_id,
            old_row=_json(before),
            new_row=_json(new),
        )
        connection.execute(self._insert_correction, kept)

    def _taking(
        self, connection: Connection, claim: RepairRow, standing: RepairRow, over: str | None
    ) -> dict[str, Any]:
        is_newer = claim.fence > standing.fence
        is_same = claim.fence == standing.fence and standing.boot_id in (claim.boot_id, over)
        if not (is_newer or is_same):
            raise FencedError(f"the repair of {claim.trade_no} belongs to a newer attempt")
        if standing.state == OPEN:
            taken = {"fence": claim.fence, "agent": claim.agent, "boot_id": claim.boot_id}
            # Whatever it is yet to do counts in the hour and the day in which it is done.
            return taken if standing.has_begun else {**taken, "started_at": self._now}
        self._refuse_stale(connection, claim)
        begun = self._begun(claim, standing.round + 1)
        return {**begun, "started_at": self._now, "changed_at": self._now}

    def _refuse_stale(self, connection: Connection, claim: RepairRow) -> None:
        """An attempt that read the row before another repaired it must not begin the same repair again."""
        if all(trade.row != claim.before for trade in self._rows_of(connection, claim.trade_no)):
            raise FencedError(f"{claim.trade_no} was repaired after this attempt had read it")

    def _begun(self, claim: RepairRow, round_: int) -> dict[str, Any]:
        """What a repair that begins writes, but for its number and its times."""
        return {
            "round": round_,
            "state": OPEN,
            "fence": claim.fence,
            "fixer_code": claim.fixer_code,
            "target": claim.target.value,
            "plan": _json(claim.plan),
            "row_before": _json(claim.before),
            "terms": claim.terms,
            "agent": claim.agent,
            "boot_id": claim.boot_id,
        }


_STEP = {
    "trade_no": text_asked("trade_no"),
    "round": number_asked("round"),
    "seq": number_asked("seq"),
    "name": text_asked("name"),
    "state": text_asked("state"),
    "moves_money": number_asked("moves_money"),
    "started_at": moment_asked("started_at"),
    "finished_at": moment_asked("finished_at"),
    "result": text_asked("result"),
    "fence": number_asked("fence"),
    "agent": text_asked("agent"),
    "boot_id": text_asked("boot_id"),
}
"""A step's columns, but for its key."""
_BEGUN = {
    "round": number_asked("round"),
    "state": text_asked("state"),
    "fence": number_asked("fence"),
    "fixer_code": text_asked("fixer_code"),
    "target": text_asked("target"),
    "plan": text_asked("plan"),
    "row_before": text_asked("row_before"),
    "terms": text_asked("terms"),
    "agent": text_asked("agent"),
    "boot_id": text_asked("boot_id"),
}
"""A repair's columns, but for its number and its times."""
_CORRECTED = {
    "trade_no": text_asked("trade_no"),
    "round": number_asked("round"),
    "old_version": plain_asked("old_version"),
    "trade_id": plain_asked("trade_id"),
    "fixer_code": text_asked("fixer_code"),
    "fence": number_asked("fence"),
    "agent": text_asked("agent"),
    "boot_id": text_asked("boot_id"),
    "old_row": text_asked("old_row"),
    "new_row": text_asked("new_row"),
}
"""A correction's columns, but for its time."""


def _merging(step: TableClause, dialect: str) -> Insert:
    """Insert a step, or replace the one whose key stands: an earlier round's too."""
    values = {"step_key": text_asked("step_key"), **_STEP}
    merged: Insert
    if dialect in ("mysql", "mariadb"):
        into = mysql.insert(step).values(values)
        merged = into.on_duplicate_key_update({name: into.inserted[name] for name in _STEP})
    else:
        merging = (postgresql if dialect == "postgresql" else sqlite).insert(step).values(values)
        replaced = {name: merging.excluded[name] for name in _STEP}
        merged = merging.on_conflict_do_update(index_elements=["step_key"], set_=replaced)
    return merged


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _repair_of(rows: Sequence[Row[*tuple[Any, ...]]]) -> RepairRow | None:
    """From one row for each step of the trade; a repair without any has one row, with no key."""
    if not rows:
        return None
    row = rows[0]
    steps = [each for each in rows if each.of_step_step_key is not None]
    try:
        return RepairRow(
            trade_no=row.trade_no,
            round=row.round,
            state=row.state,
            fence=row.fence,
            fixer_code=row.fixer_code,
            target=Status(row.target),
            plan=msgspec.json.decode(row.plan, type=tuple[str, ...]),
            before=unpadded(msgspec.json.decode(row.row_before, type=TradeRow)),
            terms=row.terms,
            agent=row.agent,
            boot_id=row.boot_id,
            steps=tuple(_step_of(each) for each in steps if each.of_step_round == row.round),
            earlier=tuple(_step_of(each) for each in steps if each.of_step_round != row.round),
            held_at=moment(row.changed_at) or EPOCH,
        )
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise PortError(f"the repair record of {row.trade_no} cannot be read: {error}") from error


def _step_of(row: Row[*tuple[Any, ...]]) -> StepRow:
    return StepRow(
        key=row.of_step_step_key,
        seq=row.of_step_seq,
        name=row.of_step_name,
        state=row.of_step_state,
        moves_money=bool(row.of_step_moves_money),
        started_at=moment(row.of_step_started_at),
        finished_at=moment(row.of_step_finished_at),
        result=text(row.of_step_result),
    )
