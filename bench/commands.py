"""Commands per second from claim to recorded result, with real agents: Verify, then Repair."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from app.agents.models import Command
from app.anomalies.models import Anomaly, CollectionRun
from app.anomalies.service import order_verifies
from app.audit.service import SYSTEM
from app.executions.models import Attempt
from app.executions.starting import Order, start_attempts
from app.extensions import db
from app.plans.product_plans import PRODUCT_PLANS, PlanValues
from app.plans.service import create_plan, find_plan
from app.unit_of_work import WorkSession, unit_of_work
from bench.figures import Figure, percentile
from bench.production import WORKERS, Production, running_production
from bench.server import BenchError
from bench.sizes import Sizes
from sandbox.world import World

GROUPS: Final = ("PBAP", "PBMS")
VERIFIABLE: Final = ("open", "waiting", "needs_human")


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Have all broken trades collected, verified, and those that may be repaired repaired."""

    def fill(world: World) -> None:
        for sys_code in GROUPS:
            world.load_broken(sizes.broken_trades // len(GROUPS), group=sys_code)

    agents = {sys_code: sizes.agents // len(GROUPS) for sys_code in GROUPS}
    with running_production(folder, agents, fill) as running:
        runs = running.collect()
        with running.server.app.app_context():
            _make_plans()
            verifies = _issue_verifies()
            running.wait_quiet()
            verified = _figures("Verify", verifies, sizes)
            repairs = _issue_repairs()
            running.wait_quiet()
            repaired = _figures("Repair", repairs, sizes, f" ({_outcomes(running)})")
    return [_broadcast(runs, sizes), *verified, *repaired]


def _broadcast(runs: list[CollectionRun], sizes: Sizes) -> Figure:
    ended = [run.finished_at for run in runs if run.finished_at is not None]
    seconds = (max(ended) - min(run.created_at for run in runs)).total_seconds()
    return Figure(
        "broadcast to its last report",
        seconds,
        "s",
        f"collections of {len(runs)} groups at once over {sizes.agents} agent processes, a shard each; "
        f"{sum(run.reported for run in runs):,} trades reported",
    )


def _make_plans() -> None:
    with unit_of_work() as session:
        for sys_code, values in product(GROUPS, PRODUCT_PLANS):
            # Manual: what is measured is ordered here, no tick joins in.
            mine = PlanValues(sys_code=sys_code, fixer_code=values.fixer_code, mode="manual")
            create_plan(session, mine, actor=SYSTEM, now=datetime.now(UTC))


def _issue_verifies() -> int:
    """Commit a Verify of every anomaly at once, so that issuing is no part of the time."""
    with unit_of_work() as session:
        by_group: dict[int, list[Anomaly]] = {}
        for anomaly in _anomalies(session, VERIFIABLE):
            by_group.setdefault(anomaly.group_id, []).append(anomaly)
        return sum(order_verifies(session, mine, datetime.now(UTC)) for mine in by_group.values())


def _issue_repairs() -> int:
    """Commit a repair of every anomaly that may be repaired, at once."""
    issued = 0
    with unit_of_work() as session:
        order = Order("command_line", SYSTEM, "bench", datetime.now(UTC))
        by_plan: dict[tuple[int, str | None], list[Anomaly]] = {}
        for anomaly in _anomalies(session, ("open",)):
            by_plan.setdefault((anomaly.group_id, anomaly.fixer_code), []).append(anomaly)
        for (group_id, code), anomalies in by_plan.items():
            plan = find_plan(session, group_id, code)
            if plan is not None:
                issued += len(start_attempts(session, anomalies, plan, order))
    return issued


def _anomalies(session: WorkSession, states: tuple[str, ...]) -> list[Anomaly]:
    return list(session.scalars(select(Anomaly).where(Anomaly.state.in_(states))).unique())


def _figures(kind: str, issued: int, sizes: Sizes, became: str = "") -> list[Figure]:
    """The rate over all commands of a kind, and how long one took from claim to result."""
    wanted = select(Command.sent_at, Command.finished_at).where(
        Command.type == kind, Command.state == "finished"
    )
    pairs = [(sent, ended) for sent, ended in db.session.execute(wanted) if sent and ended]
    if len(pairs) < issued or not pairs:
        raise BenchError(f"{len(pairs)} of {issued} {kind} commands finished")
    seconds = (max(ended for _, ended in pairs) - min(sent for sent, _ in pairs)).total_seconds()
    took = [(ended - sent).total_seconds() for sent, ended in pairs]
    conditions = (
        f"{len(pairs):,} {kind} commands{became}, {sizes.agents} agent processes with journal and bank on, "
        f"all on the server's cores; {len(GROUPS)} production systems on SQLite and one bank process; agents "
        f"repair {WORKERS} at a time; first claim to last result, by the server's rows"
    )
    return [
        Figure(f"{kind} claimed to recorded", len(pairs) / seconds, "commands/s", conditions),
        Figure(f"{kind} one command p50", percentile(took, 50), "s", conditions),
        Figure(f"{kind} one command p99", percentile(took, 99), "s", conditions),
    ]


def _outcomes(running: Production) -> str:
    """Return the repairs' outcomes, counted, in words. Raises BenchError when money went wrong."""
    if violations := running.world.report().violations:
        raise BenchError(f"the sandbox's books are not sound: {violations[:3]}")
    counted = db.session.execute(select(Attempt.outcome, func.count()).group_by(Attempt.outcome)).all()
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counted, key=lambda row: -row[1]))
