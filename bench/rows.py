"""Rows as a month of work leaves them in the server's database: so many behind every list."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from flask import Flask
from sqlalchemy import insert
from sqlalchemy.orm import DeclarativeBase

from app.agents.models import Agent, Command, Frame
from app.anomalies.models import Anomaly, AnomalyEvent, CollectionRun, CollectionTask, QuarterCount
from app.audit.models import AuditEntry
from app.audit.service import SYSTEM
from app.executions.models import Attempt, Execution, Step
from app.plans.product_plans import PRODUCT_PLANS, PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from app.users import groups, passwords
from app.users.models import User
from bench import repaired_rows
from bench.scattered import AGENTS, CODES, DAYS, GROUPS, USERS, Rows, agent_of, group_of, moment, trade_no

CHUNK: Final = 5_000
FRAME_TYPES: Final = ("Repair", "Ack", "Started", "StepRecorded", "RepairFinished")


def fill(app: Flask, count: int) -> None:
    """Write ``count`` rows behind each list, spread over the last DAYS days and over the groups and agents.

    Plans are what they can be, one a group and fixer; agents at most AGENTS, people at most USERS; the kept
    counts of home begin with the newest quarter of an hour.
    """
    now = datetime.now(UTC)
    with app.app_context():
        _write_groups(now)
        _write(Agent, _agents(min(AGENTS, count), now))
        _write(User, _users(min(USERS, count), now))
        _write(CollectionRun, _runs(count, now))
        _write(CollectionTask, _tasks(count, now))
        _write(Command, _commands(count, now))
        _write(Frame, _frames(count, now))
        _write(Anomaly, repaired_rows.anomalies(count, now))
        _write(AnomalyEvent, repaired_rows.events(count, now))
        _write(Execution, repaired_rows.executions(count, now))
        _write(Attempt, repaired_rows.attempts(count, now))
        _write(Step, repaired_rows.steps(count, now))
        _write(AuditEntry, _audit(count, now))
        _write(QuarterCount, islice(_quarters(now), 2 * count))


def _write(model: type[DeclarativeBase], rows: Rows) -> None:
    while chunk := list(islice(rows, CHUNK)):
        with unit_of_work() as session:
            session.execute(insert(model), chunk)


def _write_groups(now: datetime) -> None:
    with unit_of_work() as session:
        for number in range(GROUPS):
            sys_code = f"SYS{number:02d}"
            groups.create_group(session, actor=SYSTEM, sys_code=sys_code, name=f"系统 {number}", now=now)
            for values in PRODUCT_PLANS:
                plan = PlanValues(sys_code=sys_code, fixer_code=values.fixer_code, mode="manual")
                create_plan(session, plan, actor=SYSTEM, now=now)


def _agents(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        is_there = number % 10 != 0
        yield {
            "id": number,
            "name": f"agent-{number:05d}",
            "group_id": group_of(number),
            "token_hash": f"hash-{number}",
            "created_at": now - timedelta(days=DAYS),
            "connected_at": now if is_there else None,
            "disconnected_at": None if is_there else now,
            "last_seen_at": now,
            "version": "1",
            "host": f"host-{number}",
            "journal_id": f"journal-{number}",
            "fixer_codes": list(CODES),
        }


def _users(count: int, now: datetime) -> Rows:
    nobody = passwords.hash_password("nobody logs in by this one")
    for number in range(1, count + 1):
        yield {
            "username": f"person.{number:06d}",
            "display_name": f"某人 {number}",
            "password_hash": nobody,
            "role": "viewer",
            "created_at": moment(number, count, now),
        }


def _runs(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        at = moment(number, count, now)
        yield {
            "id": number,
            "group_id": group_of(number),
            "state": "incomplete" if number % 50 == 0 else "finished",
            "trigger": "cron" if number % 10 else "click",
            "requested_by": "piculus" if number % 10 else "li.na",
            "fixer_codes": list(CODES),
            "window_start": at - timedelta(days=7),
            "window_end": at,
            "shards": 2,
            "scanned": 20_000 + number % 1_000,
            "reported": number % 40,
            "new_anomalies": number % 3,
            "amount_minor": number * 100,
            "created_at": at,
            "started_at": at,
            "finished_at": at + timedelta(seconds=3),
        }


def _tasks(count: int, now: datetime) -> Rows:
    for number in range(2, 2 * count + 2):
        at = moment(number // 2, count, now)
        yield {
            "run_id": number // 2,
            "agent_id": agent_of(number, count),
            "command_id": f"c{number:031d}",
            "shard": number % 2,
            "shards": 2,
            "state": "finished",
            "scanned": 10_000,
            "rows": number % 20,
            "duration_ms": 2_000 + number % 500,
            "created_at": at,
            "started_at": at,
            "finished_at": at + timedelta(seconds=3),
        }


def _commands(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        at = moment(number, count, now)
        yield {
            "id": f"r{number:031d}",
            "group_id": group_of(number),
            "agent_id": agent_of(number, count),
            "type": "Repair",
            "trade_no": trade_no(number),
            "fixer_code": CODES[number % len(CODES)],
            "message": {"trade_no": trade_no(number)},
            "priority": 3,
            "state": "finished",
            "created_at": at,
            "sent_at": at,
            "accepted_at": at,
            "started_at": at,
            "finished_at": at + timedelta(seconds=2),
            "deadline_at": at + timedelta(minutes=10),
        }


def _frames(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        kind = FRAME_TYPES[number % len(FRAME_TYPES)]
        body = f'{{"type":"{kind}","id":"m-{number}","command_id":"r{number:031d}","fence":1}}'
        yield {
            "at": moment(number, count, now),
            "group_id": group_of(number),
            "agent_id": agent_of(number, count),
            "direction": "out" if kind == "Repair" else "in",
            "type": kind,
            "size": len(body),
            "message_id": f"m-{number}",
            "command_id": f"r{number:031d}",
            "trade_no": trade_no(number),
            "latency_ms": number % 300 if kind == "Ack" else None,
            "body": body,
            "error": "",
        }


def _audit(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        yield {
            "at": moment(number, count, now),
            "actor_id": None,
            "actor_name": "piculus" if number % 10 else "li.na",
            "action": "attempt.start" if number % 3 else "plan.update",
            "object_type": "attempt" if number % 3 else "plan",
            "object_id": str(number),
            "object_name": trade_no(number),
            "sys_code": f"SYS{number % GROUPS:02d}",
            "reason": "",
            "detail": {"from": 1, "to": 2},
            "address": "127.0.0.1",
        }


def _quarters(now: datetime) -> Rows:
    top = now.replace(minute=0, second=0, microsecond=0)
    for back in range(4 * 24 * DAYS):
        for group in range(1, GROUPS + 1):
            for name in ("new", "repaired", "healed", "needs_human", "attempt_repaired", "attempt_failed"):
                yield {
                    "group_id": group,
                    "quarter": top - timedelta(minutes=15 * back),
                    "name": name,
                    "count": 1 + back % 7,
                    "amount_minor": 1_000 * back,
                }
