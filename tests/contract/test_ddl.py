"""What a DBA is given: it creates what the adapters need, and grants no more than they need."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from agent.adapters.ddl import ddl
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.trade_db import SqlTrades
from agent.errors import ConfigurationError
from agent.facts import Leg, Status
from agent.records import BankRequest, Correction, Reversal
from sandbox.settings import GroupUrls
from sandbox.statements import split_statements
from sandbox.world import World
from tests.contract.places import Planted, SqlTradePlace, claim_of, step_of
from tests.contract.trades import AT, posting_of
from tests.databases import databases


class TestText:
    @pytest.mark.parametrize("dialect_name", ["sqlite", "postgresql", "mysql", "mariadb"])
    def test_it_divides_at_its_semicolons(self, dialect_name: str) -> None:
        script = ddl(dialect_name, grants_user="piculus")
        naive = [part for part in script.split(";") if part.strip()]
        assert len(naive) == len(split_statements(script))

    def test_no_user_no_grants(self) -> None:
        assert "GRANT" not in ddl("postgresql")
        assert "GRANT" in ddl("postgresql", grants_user="piculus")

    @pytest.mark.parametrize(("dialect_name", "user"), [("oracle", None), ("postgresql", "x; DROP TABLE y")])
    def test_what_cannot_be_is_refused(self, dialect_name: str, user: str | None) -> None:
        with pytest.raises(ConfigurationError):
            ddl(dialect_name, grants_user=user)

    def test_an_agent_may_neither_delete_nor_drop(self) -> None:
        for word in ("DELETE", "DROP", "ALTER", "ALL"):
            assert f"GRANT {word}" not in ddl("postgresql", grants_user="piculus")


@pytest.fixture(params=["postgresql", "mariadb"])
def granted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, str, str]]:
    """A sandbox in one database, and the URL of a user who may do no more than the grants say."""
    with databases(request.param, tmp_path) as new_database, ExitStack() as stack:
        url = new_database()
        world = World.created(tmp_path, groups=("PBAP",), urls={"PBAP": GroupUrls(url, url)})
        stack.callback(world.close)
        user, password = f"p{uuid4().hex[:12]}", "only-for-this-test"
        owner = create_engine(url, isolation_level="AUTOCOMMIT")
        stack.callback(owner.dispose)
        with owner.connect() as connection:
            for statement in _creating(request.param, user, password):
                connection.execute(text(statement))
            stack.callback(_drop, url, request.param, user)
            for statement in split_statements(ddl(request.param, grants_user=user)):
                connection.execute(text(statement))
        theirs = make_url(url).set(username=user, password=password).render_as_string(hide_password=False)
        yield world, url, theirs


def _creating(engine_name: str, user: str, password: str) -> list[str]:
    if engine_name == "postgresql":
        return [f"CREATE USER {user} PASSWORD '{password}'"]
    return [f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'"]


def _drop(url: str, engine_name: str, user: str) -> None:
    owner = create_engine(url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        if engine_name == "postgresql":
            connection.execute(text(f"DROP OWNED BY {user}"))
        connection.execute(text(f"DROP USER {user}"))
    owner.dispose()


def test_the_grants_are_enough_for_a_repair(granted: tuple[World, str, str]) -> None:
    world, _, theirs = granted
    planted = SqlTradePlace(world, "READ COMMITTED").plant(Planted())
    trades, ledger = SqlTrades(theirs), SqlLedger(theirs)
    assert "tables" in trades.check()
    assert "tables" in ledger.check()
    [trade] = trades.find(planted.trade_no)
    world.production().ledger.open_account(trade.account_no, 50_000)
    held = trades.claim_repair(claim_of(trade))
    trades.record_step(held, step_of(trade.trade_no, "post_both", state="intended"))
    trades.open_bank_request(
        held,
        BankRequest(
            request_no=f"{trade.trade_no}-P1",
            trade_no=trade.trade_no,
            seq=1,
            kind="payout",
            status="created",
            amount_minor=10_050,
            created_at=AT,
        ),
        step_of(trade.trade_no, "pay", seq=2, state="intended"),
        set(),
    )
    trades.note_bank_request(held, f"{trade.trade_no}-P1", "success")
    voucher_no = ledger.post(posting_of(trade, Leg.BOTH))
    correction = Correction(
        status=Status.SUCCESS, acc_voucher=voucher_no, e_acc_voucher=voucher_no, message="提现成功修复"
    )
    trades.write_row(held, trade, correction, step_of(trade.trade_no))
    trades.close_repair(held, "done")
    reversal = Reversal(
        key=f"undo {trade.trade_no}",
        trade_no=trade.trade_no,
        voucher_no=voucher_no,
        intended_at=ledger.now(),
    )
    assert ledger.reverse_entry(reversal) != voucher_no
    trades.close()
    ledger.close()
    assert world.row(trade.trade_no)["ACC_TRD_NUM"] == voucher_no
    assert world.requests(trade.trade_no)[0]["STATUS"] == "success"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {trade}",
        "UPDATE {trade} SET {amount} = 1",
        "UPDATE gl_entry SET {amount} = 1",
        "UPDATE gl_entry_leg SET {leg} = '2'",
        "DELETE FROM piculus_correction",
        "UPDATE piculus_correction SET old_row = ''",
        "DROP TABLE piculus_repair",
    ],
)
def test_the_grants_allow_nothing_more(granted: tuple[World, str, str], statement: str) -> None:
    _, _, theirs = granted
    engine = create_engine(theirs)
    quote = engine.dialect.identifier_preparer.quote
    filled = statement.format(trade=quote("TPBAP_TRD_ACC_TRADE"), amount=quote("AMOUNT"), leg=quote("LEG"))
    with engine.connect() as connection, pytest.raises(SQLAlchemyError, match=r"denied|must be owner"):
        connection.execute(text(filled))
    engine.dispose()
