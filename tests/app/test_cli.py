"""The command line: what it writes, what it prints, and its exit codes."""

import stat
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy import select, update

from app.agents import local_stops
from app.agents import service as agents
from app.agents.models import Agent, Command, Stop
from app.anomalies.models import CollectionRun
from app.audit.models import AuditEntry
from app.cli import collect, repair
from app.cli_accounts import group, user
from app.cli_bulk import follow
from app.cli_demo import seed_demo
from app.cli_stops import stop
from app.cli_tokens import agent_token
from app.executions.bulk_models import BulkRepair
from app.extensions import db
from app.plans.models import CollectionSchedule, Plan
from app.plans.service import delete_plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup, User
from tests.factories import FIXER, NOW, PERSON, make_agent, make_anomaly, make_group, make_plan


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    return app.test_cli_runner()


@pytest.fixture
def group_id(app: Flask) -> int:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        return group.id


def plant(group_id: int, **columns: object) -> str:
    with unit_of_work() as session:
        return make_anomaly(session, session.get_one(SystemGroup, group_id), **columns).trade_no


def test_collect_writes_a_run(runner: FlaskCliRunner, group_id: int) -> None:
    result = runner.invoke(args=["collect", "--group", "PBAP", "--hours", "24", "--code", FIXER])
    assert result.exit_code == 0, result.output
    run = db.session.scalars(select(CollectionRun)).unique().one()
    assert result.output == f"run {run.id}\n"
    assert (run.trigger, run.fixer_codes, run.state) == ("command_line", [FIXER], "running")


def test_collect_waits_until_its_time_is_out(runner: FlaskCliRunner, group_id: int) -> None:
    result = runner.invoke(args=["collect", "--group", "PBAP", "--wait", "--timeout", "0"])
    assert result.exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["collect"], 2),
        (["collect", "--group", "NONE"], 2),
        (["collect", "--group", "PBAP", "--code", "Wrong"], 1),
        (["collect", "--group", "PBAP", "--code", "nobodyOffersThis"], 1),
        (["repair", "--trade", "T", "--group", "NONE"], 2),
        (["repair", "--trade", "T-unknown"], 3),
        (["agent-token", "revoke", "nobody", "--reason", "lost"], 2),
        (["user", "disable", "nobody", "--reason", "left"], 1),
        (["user", "disable", "nobody"], 2),
        (["user", "reset", "nobody"], 2),
        (["agent-token", "rotate", "nobody"], 2),
        (["agent-token", "create", "a b", "--group", "PBAP"], 1),
        (["stop", "set", "--all"], 2),
        (["stop", "set", "--reason", "look first"], 2),
        (["stop", "set", "--all", "--group", "PBAP", "--reason", "look first"], 2),
        (["stop", "set", "--group", "NONE", "--reason", "look first"], 2),
        (["stop", "set", "--agent", "nobody", "--reason", "look first"], 2),
        (["stop", "set", "--all", "--reason", " "], 1),
        (["stop", "lift", "--all", "--reason", "well"], 3),
    ],
)
def test_wrong_usage_has_its_exit_code(
    runner: FlaskCliRunner, group_id: int, arguments: list[str], code: int
) -> None:
    assert runner.invoke(args=arguments).exit_code == code


COMMANDS = [
    [command.name, *below]
    for command in (collect, repair, seed_demo, stop, user, group, agent_token)
    for below in [[], *([name] for name in getattr(command, "commands", ()))]
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_tells_the_exit_codes(runner: FlaskCliRunner, command: list[str]) -> None:
    result = runner.invoke(args=[*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output
    assert "Exit codes: 0 " in result.output


def test_repair_commands_one_trade(runner: FlaskCliRunner, group_id: int) -> None:
    trade_no = plant(group_id)
    plant(group_id, trade_no=trade_no + "9")
    result = runner.invoke(args=["repair", "--trade", trade_no])
    assert result.exit_code == 0, result.output
    command = db.session.scalars(select(Command)).one()
    assert (command.type, command.trade_no) == ("Repair", trade_no)
    assert runner.invoke(args=["repair", "--trade", trade_no]).exit_code == 1


def test_repair_of_a_closed_trade_has_nothing_to_do(runner: FlaskCliRunner, group_id: int) -> None:
    trade_no = plant(group_id, state="repaired")
    result = runner.invoke(args=["repair", "--trade", trade_no])
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("target", "name"), [(["--all"], "all"), (["--group", "PBAP"], "group PBAP"), (["--agent", "pbap-1"], "")]
)
def test_a_stop_is_set_listed_and_lifted_in_the_name_of_whoever_runs_it(
    runner: FlaskCliRunner, group_id: int, target: list[str], name: str
) -> None:
    agent_name = db.session.scalars(select(Agent.name)).one()
    target = [agent_name if one == "pbap-1" else one for one in target]
    done = runner.invoke(args=["stop", "set", *target, "--reason", "amounts are wrong"])
    stop_row = db.session.scalars(select(Stop)).one()
    assert (done.exit_code, done.output) == (0, f"stop {stop_row.id}\n")
    assert runner.invoke(args=["stop", "set", *target, "--reason", "again"]).exit_code == 1
    (line,) = runner.invoke(args=["stop", "list"]).output.splitlines()
    assert line.startswith(f"{stop_row.id}\t{name or f'agent {agent_name}'}\tcli:")
    assert line.endswith("\tamounts are wrong")
    assert runner.invoke(args=["stop", "lift", *target, "--reason", "well again"]).exit_code == 0
    assert runner.invoke(args=["stop", "list"]).output == ""
    entries = db.session.scalars(select(AuditEntry).where(AuditEntry.object_type == "stop")).all()
    assert [(one.action, one.reason) for one in entries] == [
        ("stop.set", "amounts are wrong"),
        ("stop.lift", "well again"),
    ]
    assert all(one.actor_name.startswith("cli:") for one in entries)


def test_an_agent_s_own_stop_is_listed_with_since_when_it_is_known(
    runner: FlaskCliRunner, group_id: int
) -> None:
    with unit_of_work() as session:
        agent = session.scalars(select(Agent)).one()
        local_stops.keep(session, agent, "changing disks", NOW)
    (line,) = runner.invoke(args=["stop", "list"]).output.splitlines()
    assert line == f"-\tagent {agent.name}\tlocal\t{NOW:%Y-%m-%dT%H:%M:%SZ}\tchanging disks"


def test_an_agents_token_is_made_rotated_and_revoked(runner: FlaskCliRunner, group_id: int) -> None:
    made = runner.invoke(args=["agent-token", "create", "pbap-9", "--group", "PBAP"]).output.strip()
    assert agents.authenticate(db.session, made) is not None
    db.session.remove()
    rotated = runner.invoke(args=["agent-token", "rotate", "pbap-9", "--reason", "regular"]).output.strip()
    assert agents.authenticate(db.session, made) is None
    assert agents.authenticate(db.session, rotated) is not None
    db.session.remove()
    assert runner.invoke(args=["agent-token", "revoke", "pbap-9", "--reason", "host gone"]).exit_code == 0
    assert agents.authenticate(db.session, rotated) is None
    assert "pbap-9\tPBAP\trevoked" in runner.invoke(args=["agent-token", "list"]).output


def test_a_token_that_cannot_be_written_is_not_made(
    runner: FlaskCliRunner, group_id: int, tmp_path: Path
) -> None:
    runner.invoke(args=["agent-token", "create", "pbap-9", "--group", "PBAP"])
    before = db.session.scalars(select(Agent.token_hash).where(Agent.name == "pbap-9")).one()
    (tmp_path / "file").write_text("")
    arguments = [
        "agent-token",
        "rotate",
        "pbap-9",
        "--reason",
        "x",
        "--file",
        str(tmp_path / "file" / "token"),
    ]
    refused = runner.invoke(args=arguments)
    assert (refused.exit_code, "the token was not made" in refused.output) == (1, True)
    db.session.expire_all()
    assert db.session.scalars(select(Agent.token_hash).where(Agent.name == "pbap-9")).one() == before


def test_a_refused_token_leaves_no_file(runner: FlaskCliRunner, group_id: int, tmp_path: Path) -> None:
    file = tmp_path / "token"
    refused = runner.invoke(args=["agent-token", "create", "a b", "--group", "PBAP", "--file", str(file)])
    assert (refused.exit_code, file.exists()) == (1, False)


def test_a_token_replaces_what_its_file_held(runner: FlaskCliRunner, group_id: int, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(
        "an older and much longer token, of which nothing may stay behind the new one, not a letter\n"
    )
    runner.invoke(args=["agent-token", "create", "pbap-9", "--group", "PBAP", "--file", str(file)])
    assert agents.authenticate(db.session, file.read_text().rstrip("\n")) is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_refusal_is_a_sentence(runner: FlaskCliRunner) -> None:
    refused = runner.invoke(args=["user", "disable", "nobody", "--reason", "left"])
    assert (refused.exit_code, refused.output) == (1, "refused: username: There is no such user.\n")


def test_people_are_made_reset_and_disabled(runner: FlaskCliRunner, group_id: int) -> None:
    arguments = ["user", "create", "wang.wei", "--role", "operator", "--group", "PBAP"]
    first = runner.invoke(args=arguments)
    assert first.exit_code == 0, first.output
    assert runner.invoke(args=arguments).exit_code == 1
    second = runner.invoke(args=["user", "reset", "wang.wei", "--reason", "forgotten"]).output
    assert first.output != second
    assert runner.invoke(args=["user", "disable", "wang.wei", "--reason", "left"]).exit_code == 0
    assert "wang.wei\toperator\tdisabled\tPBAP" in runner.invoke(args=["user", "list"]).output
    person = db.session.scalars(select(User)).one()
    assert (person.is_enabled, person.must_change_password) == (False, True)


def test_the_first_admin_is_made_once(runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICULUS_ADMIN_PASSWORD", raising=False)
    assert runner.invoke(args=["user", "ensure-admin"]).output.strip()
    assert runner.invoke(args=["user", "ensure-admin"]).output == ""
    assert db.session.scalars(select(User.username)).all() == ["admin"]


def test_the_demo_is_seeded_once(runner: FlaskCliRunner, app: Flask) -> None:
    assert runner.invoke(args=["seed-demo"]).exit_code == 0
    folder = app.extensions["settings"].secrets_folder
    tokens = {name: (folder / f"{name}.token").read_text() for name in ("pbap-1", "pbap-2", "pbms-1")}
    assert stat.S_IMODE((folder / "pbap-1.token").stat().st_mode) == 0o600
    plans = db.session.scalars(select(Plan).order_by(Plan.id)).unique().all()
    assert [plan.group.sys_code for plan in plans] == ["PBAP"] * 8 + ["PBMS"] * 8
    assert {plan.retry_cron for plan in plans} == {"0/15 * * * * ?"}
    assert [plan.mode for plan in plans].count("manual") == 2
    schedules = db.session.scalars(select(CollectionSchedule)).unique().all()
    assert [(one.cron, one.runs_on_first_connect) for one in schedules] == [("0 * * * * ?", True)] * 2
    with unit_of_work() as session:
        delete_plan(session, plans[0].id, actor=PERSON, now=NOW, reason="not ours")
    (folder / "pbap-2.token").unlink()
    db.session.remove()
    assert runner.invoke(args=["seed-demo"]).exit_code == 0
    assert len(db.session.scalars(select(Plan)).unique().all()) == 15
    assert (folder / "pbap-1.token").read_text() == tokens["pbap-1"]
    assert agents.authenticate(db.session, (folder / "pbap-2.token").read_text().strip()) is not None
    assert len(db.session.scalars(select(Agent)).unique().all()) == 3


def test_what_the_command_line_does_is_audited(runner: FlaskCliRunner, group_id: int) -> None:
    runner.invoke(args=["group", "create", "PBXX", "--name", "试"])
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "group.create")).one()
    assert entry.actor_name.startswith("cli:")
    assert "PBXX\t试\tAsia/Shanghai\tenabled" in runner.invoke(args=["group", "list"]).output


def test_repair_of_several_trades_is_a_bulk_repair(runner: FlaskCliRunner, group_id: int) -> None:
    trades = [plant(group_id) for _each in range(3)]
    asked = [argument for trade_no in trades for argument in ("--trade", trade_no)]
    result = runner.invoke(args=["repair", *asked])
    bulk = db.session.scalars(select(BulkRepair)).unique().one()
    assert (result.exit_code, result.output) == (0, f"bulk {bulk.id}\n")
    assert (bulk.trigger, bulk.total, bulk.under_way) == ("command_line", 3, 1)
    assert len(db.session.scalars(select(Command)).all()) == 1
    again = runner.invoke(args=["repair", *asked, "--wait", "--timeout", "0"])
    assert "1 cannot be attempted now" in again.output
    assert again.exit_code == 4


@pytest.mark.parametrize(
    ("state", "done", "failed", "code"), [("finished", 2, 0, 0), ("finished", 1, 1, 1), ("paused", 1, 1, 1)]
)
def test_a_bulk_repair_is_followed_until_it_has_ended_or_pauses(
    runner: FlaskCliRunner, group_id: int, state: str, done: int, failed: int, code: int
) -> None:
    trades = [plant(group_id), plant(group_id)]

    def come_to_rest(is_done: Callable[[], bool]) -> None:
        """Stand for the server, which works while the command waits."""
        assert not is_done()
        with unit_of_work() as session:
            values = {"state": state, "done": done, "failed": failed, "under_way": 0, "total": 2}
            session.execute(update(BulkRepair).values(values))
        db.session.remove()
        assert is_done()

    @click.command()
    def followed() -> None:
        follow([bulk_id], come_to_rest)

    runner.invoke(args=["repair", "--trade", trades[0], "--trade", trades[1]])
    (bulk_id,) = db.session.scalars(select(BulkRepair.id)).all()
    db.session.remove()
    result = runner.invoke(followed)
    assert result.exit_code == code
    assert result.output.splitlines() == [
        f"bulk {bulk_id} running, stage 1: 0 done, 0 failed, 0 skipped of 2",
        f"bulk {bulk_id} {state}, stage 1: {done} done, {failed} failed, 0 skipped of 2",
    ]
