"""An agent that starts again with a repair half done: who goes on with it, and when."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from agent.answers import Cancelled, RepairFinished
from agent.commands import Dispatcher, Identity
from agent.errors import StoppedError
from agent.fixers import FIXERS
from agent.journal import Journal
from agent.message import Message
from agent.outbox import Outbox
from agent.protocol import Cancel, Repair
from agent.runner import Runner
from agent.unpaid import ACTIONS, Action
from agent.work import ProductionWork
from tests.agent.unpaid_trades import load_unpaid, net_postings
from tests.agent.world import Desk, load_case, wait_for_days_to_close
from tests.fakes.faults import Moment

PATIENCE = 20.0


class Agent:
    """One start of an agent with a journal of its own, beside a production system that outlives it."""

    def __init__(self, desk: Desk, journal: Path, boot_id: str) -> None:
        self.journal = Journal(journal)
        self._told = threading.Condition()
        self.outbox = Outbox(self.journal, self._tell)
        self.hints: list[Message] = []
        work = ProductionWork("pbap-1", desk.production.ports, desk.settings, desk.fixers)
        is_live = threading.Event()
        self.runner = Runner(self.journal, self.outbox, work, self._hint, is_live)
        who = Identity(name="pbap-1", boot_id=boot_id, version="0", host="h")
        self.dispatcher = Dispatcher(
            who, self.journal, self.outbox, self.runner, work.fixer_codes, self._hint
        )
        self.dispatcher.resume()

    def _hint(self, message: Message) -> None:
        self.hints.append(message)
        self._tell()

    def _tell(self) -> None:
        with self._told:
            self._told.notify_all()

    def delivered(self) -> list[Message]:
        decode = msgspec.json.Decoder(RepairFinished | Cancelled).decode
        return [decode(unsent.frame) for unsent in self.journal.unsent(0, 10)]

    def result(self) -> RepairFinished:
        """How the repair ended, once it has."""
        with self._told:
            assert self._told.wait_for(self.delivered, PATIENCE), self.hints
        [finished] = self.delivered()
        assert isinstance(finished, RepairFinished)
        return finished

    def settle(self) -> None:
        assert self.runner._wait_until_idle(PATIENCE)

    def leave(self) -> None:
        self.runner.stop(PATIENCE, PATIENCE)
        self.journal.close()


Starting = Callable[..., Agent]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def start(desk: Desk, tmp_path: Path) -> Iterator[Starting]:
    """Start an agent: with the journal of this name, or a copy of another's."""
    started: list[Agent] = []

    def begin(boot_id: str, journal: str = "journal.db", copy_of: str = "") -> Agent:
        if copy_of:
            shutil.copy(tmp_path / copy_of, tmp_path / journal)
        started.append(Agent(desk, tmp_path / journal, boot_id))
        return started[-1]

    yield begin
    desk.production.faults.heal()
    for agent in started:
        agent.leave()


def ordered(desk: Desk, case_id: str = "S2") -> Repair:
    """The server's order for one of the ten cases."""
    trade_no, code = load_case(desk, case_id)
    wait_for_days_to_close(desk)
    return Repair(
        id="command.7",
        command_id="command",
        trade_no=trade_no,
        fixer_code=code,
        row_hash=desk.row_hash(trade_no),
        fence=7,
        deadline_ms=600_000,
    )


def end_at(
    desk: Desk, agent: Agent, order: Repair, call: str = "bank.pay", moment: Moment = "before"
) -> None:
    """Have the agent end just before this call of a port, or just after it."""
    reached = threading.Event()
    desk.production.faults.on(call, reached.set)
    desk.production.faults.down(call, moment, StoppedError())
    agent.dispatcher.handle(order)
    assert reached.wait(PATIENCE)
    agent.settle()
    agent.leave()
    desk.production.faults.heal()


def half_done(desk: Desk, start: Starting) -> Repair:
    """An order whose agent, ``boot-1``, ended when the customer was debited and before the bank was asked."""
    order = ordered(desk)
    end_at(desk, start("boot-1"), order)
    return order


def again(order: Repair) -> Repair:
    """The same order, sent once more in a later session."""
    return msgspec.structs.replace(order, deadline_ms=order.deadline_ms - 5_000)


# ---- whose it is


def test_of_two_copies_of_a_journal_one_goes_on(desk: Desk, start: Starting) -> None:
    order = half_done(desk, start)
    late = start("boot-3", "copy.db", copy_of="journal.db")
    outcomes: list[tuple[str, str, bool]] = []

    def wake_the_copy() -> None:
        desk.production.faults.on("bank.pay", lambda: None)
        late.dispatcher.handle(again(order))
        said = late.result()
        outcomes.append((said.outcome, said.reason, bool(desk.production.bank.asked)))

    desk.production.faults.on("bank.pay", wake_the_copy)
    agent = start("boot-2")
    agent.dispatcher.handle(again(order))
    assert agent.result().outcome == "repaired"
    assert outcomes == [("refused", "fenced", False)]
    assert len(desk.production.bank.payments) == 1


def test_a_copy_of_a_journal_takes_nothing_from_a_start_it_does_not_know(
    desk: Desk, start: Starting, tmp_path: Path
) -> None:
    order = half_done(desk, start)
    shutil.copy(tmp_path / "journal.db", tmp_path / "old.db")
    end_at(desk, start("boot-2"), again(order))
    restored = start("boot-3", "old.db")
    restored.dispatcher.handle(again(order))
    assert (restored.result().outcome, restored.result().reason) == ("refused", "fenced")
    third = start("boot-4")
    third.dispatcher.handle(again(order))
    assert third.result().outcome == "repaired"
    assert len(desk.production.bank.payments) == 1


# ---- when


def ends_without_effect(desk: Desk, order: Repair) -> bool:
    """Whether the bank was never asked, and the ledger holds just the debit of the start before."""
    posted = [entry for entry in desk.production.ledger.entries if entry.posted_by == "piculus"]
    steps = [step.name for _, _, step in desk.production.trades.repair_steps.values()]
    return (desk.production.bank.asked, len(posted), "write_row" in steps) == ([], 1, False)


def test_without_the_servers_word_a_repair_half_done_waits(desk: Desk, start: Starting) -> None:
    order = half_done(desk, start)
    agent = start("boot-2")
    agent.settle()
    assert agent.dispatcher.hello().unfinished == ("command",)
    assert agent.dispatcher.is_urgent()
    agent.dispatcher.heartbeat()
    assert agent.delivered() == []
    agent.leave()
    assert desk.production.faults.calls == ["trades.now"]  # its start compares the clocks
    assert ends_without_effect(desk, order)
    assert start("boot-3").dispatcher.hello().unfinished == ("command",)


def test_a_repair_that_is_sent_again_goes_on_and_moves_money_once(desk: Desk, start: Starting) -> None:
    order = half_done(desk, start)
    agent = start("boot-2")
    agent.dispatcher.handle(again(order))
    agent.dispatcher.handle(again(order))
    assert agent.result().outcome == "repaired"
    assert len(desk.production.bank.payments) == 1
    assert [entry.posted_by for entry in desk.production.ledger.entries].count("piculus") == 1
    agent.settle()
    assert agent.dispatcher.hello().unfinished == ()
    assert not agent.dispatcher.is_urgent()


def test_a_repair_the_server_has_given_up_has_no_effect_and_says_how_far_it_came(
    desk: Desk, start: Starting
) -> None:
    order = half_done(desk, start)
    agent = start("boot-2")
    agent.dispatcher.handle(Cancel(id="c", command_id="command", reason="not known to the server"))
    told = agent.result()
    assert (told.outcome, told.reason) == ("unknown", "not resumed: not known to the server")
    assert (told.money_moved, told.fence) == (True, 7)
    assert [(step.name, step.state) for step in told.steps if step.name == "pay"] == [("pay", "intended")]
    assert ends_without_effect(desk, order)


def test_one_that_another_agent_has_taken_over_leaves_the_word_to_that(desk: Desk, start: Starting) -> None:
    order = half_done(desk, start)
    assert desk.attempt(order.trade_no, order.fixer_code, fence=8).outcome == "repaired"
    agent = start("boot-2")
    agent.dispatcher.handle(Cancel(id="c", command_id="command", reason="not known to the server"))
    assert (agent.result().outcome, agent.result().reason) == ("refused", "fenced")
    assert len(desk.production.bank.payments) == 1


def test_one_that_was_done_but_for_its_result_says_so_when_it_is_given_up(
    desk: Desk, start: Starting
) -> None:
    order = half_done(desk, start)
    report = desk.attempt(order.trade_no, order.fixer_code, fence=8)
    assert report.outcome == "repaired"
    late = msgspec.structs.replace(order, id="late.8", command_id="late", fence=8)
    journal = start("boot-1").journal
    journal.receive(late, "boot-1")
    journal.close()
    agent = start("boot-2")
    agent.dispatcher.handle(Cancel(id="c", command_id="late", reason="not known to the server"))
    told = agent.result()
    assert (told.outcome, told.money_moved) == ("unknown", True)


def test_one_that_had_begun_nothing_is_cancelled(desk: Desk, start: Starting) -> None:
    order = ordered(desk)
    end_at(desk, start("boot-1"), order, "trades.claim_repair")
    agent = start("boot-2")
    agent.dispatcher.handle(Cancel(id="c", command_id="command", reason="wrong trade"))
    told = agent.result()
    assert (told.outcome, told.reason, told.money_moved) == ("cancelled", "wrong trade", False)
    assert desk.production.trades.repairs == {}


# ---- one whose payout has failed


def failed_unsaid(desk: Desk, start: Starting, moment: Moment) -> Repair:
    """An order whose agent ended after its payout had failed, before or after it closed the repair."""
    desk.production.bank.failure_settles_s = 0
    order = ordered(desk, "S7a")
    desk.production.bank.replies.append("failed:E1001")
    end_at(desk, start("boot-1"), order, "trades.close_repair", moment)
    return order


def as_it_failed(desk: Desk, order: Repair, told: RepairFinished) -> bool:
    """Whether that payout is told as the attempt itself would have, and stayed the only one."""
    assert (told.outcome, told.reason, told.money_moved) == ("failed", "payout failed: E1001", False)
    assert [(step.name, step.state) for step in told.steps] == [("pay", "failed")]
    return desk.production.bank.asked == [f"{order.trade_no}-P1"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_whose_payout_has_failed_says_so_and_pays_under_no_other_number(
    desk: Desk, start: Starting, moment: Moment
) -> None:
    order = failed_unsaid(desk, start, moment)
    agent = start("boot-2")
    agent.dispatcher.handle(again(order))
    assert as_it_failed(desk, order, agent.result())
    assert desk.attempt(order.trade_no, order.fixer_code, fence=8).outcome == "repaired"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_whose_payout_has_failed_says_so_when_it_is_given_up(
    desk: Desk, start: Starting, moment: Moment
) -> None:
    order = failed_unsaid(desk, start, moment)
    agent = start("boot-2")
    agent.dispatcher.handle(Cancel(id="c", command_id="command", reason="not known to the server"))
    assert as_it_failed(desk, order, agent.result())


# ---- with another list of fixers


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_sent_again_to_an_agent_that_no_longer_offers_its_fixer_is_refused(
    desk: Desk, start: Starting, action: Action
) -> None:
    trade_no, code = load_unpaid(desk, "processing")
    order = Repair(
        id="command.7",
        command_id="command",
        trade_no=trade_no,
        fixer_code=code,
        row_hash=desk.row_hash(trade_no),
        fence=7,
        deadline_ms=600_000,
        action=action,
        facts_hash=desk.facts_hash(trade_no),
    )
    end_at(desk, start("boot-1"), order, "trades.claim_repair")
    before = net_postings(desk, trade_no)
    desk.fixers = {each: fixer for each, fixer in FIXERS.items() if each != code}
    agent = start("boot-2")
    agent.dispatcher.handle(again(order))
    result = agent.result()
    assert (result.outcome, result.money_moved) == ("refused", False)
    assert (desk.production.bank.asked, net_postings(desk, trade_no)) == ([], before)
