"""What one agent repairs a second, and where a repair's time goes: production, or what makes it safe."""

import os
import platform
import subprocess
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from agent.adapters.tables import REPAIR_COLUMNS, STEP_COLUMNS
from agent.answers import RepairFinished
from agent.commands import Dispatcher, Identity
from agent.config import Configuration, load
from agent.envelope import new_id
from agent.jobs import Work
from agent.journal import Journal
from agent.message import Message
from agent.outbox import Outbox
from agent.ports import Ports
from agent.processes.pool import ProcessPool, WorkerProcess
from agent.protocol import Ack, Repair, decode_to_agent, decode_to_server, encode
from agent.runner import Runner
from agent.wiring import bank_of, ledger_of, offered_fixers, repair_settings, trades_of
from agent.work import ProductionWork
from bench.figures import Figure
from bench.production import create_repair_tables, start_module
from bench.server import BenchError, free_port, stop, wait_for
from bench.sizes import Sizes
from bench.watch import BANK, JOURNAL, LEDGER, SAFETY, TRADES, Watch
from deploy.child import answers
from deploy.demo import AGENT_TOML
from sandbox.database import writing
from sandbox.settings import read_settings
from sandbox.world import World

GROUP: Final = "PBAP"
WORKERS: Final = 4
"""As agent.example.toml has it."""
FEWER_THREADS: Final = (1, 2)
"""More than the interpreter and SQLite's one writer can use are in each other's way."""
FEWER_PROCESSES: Final = (2, 3)
IN_FLIGHT: Final = 32
"""Repairs the server keeps with one agent at most."""
WARM_UP: Final = 200
"""Repairs before those measured: the first of each kind pay for building the statements, once in a start."""
QUIET_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Manner:
    """How an agent works: so many workers, each a thread of it or, ``pool``, a process."""

    workers: int = WORKERS
    pool: str = "threads"

    @property
    def processes(self) -> int:
        """Worker processes."""
        return self.workers if self.pool == "processes" else 0

    def __str__(self) -> str:
        return f"{self.pool}: {self.workers}"


BY_PROCESSES: Final = Manner(pool="processes")


class Line:
    """The server's end of an agent's session: frames go in, messages are taken and acknowledged."""

    def __init__(self, configuration: Configuration, watch: Watch, manner: Manner) -> None:
        self._ready = threading.Event()
        self._journal = watch.timed(Journal(configuration.journal), JOURNAL)
        self._outbox = Outbox(self._journal, self._ready.set)
        adapters = (trades_of(configuration), ledger_of(configuration), bank_of(configuration))
        ports = Ports(*map(watch.timed, adapters, (TRADES, LEDGER, BANK)))
        fixers, name = offered_fixers(configuration), configuration.tables.agent.name
        here = ProductionWork(name, ports, repair_settings(configuration), fixers)
        self._processes = [WorkerProcess(configuration, here.watch) for _ in range(manner.processes)]
        for process in self._processes:
            process.start()
        work: Work = here
        if self._processes:
            work = ProcessPool(here, self._processes, threading.Event())
        is_live = threading.Event()
        is_live.set()
        self._runner = Runner(self._journal, self._outbox, work, _sent, is_live, workers=manner.workers)
        identity = Identity(name=name, boot_id=new_id(), version="0", host="bench")
        self._dispatcher = Dispatcher(
            identity, self._journal, self._outbox, self._runner, work.fixer_codes, _sent
        )
        self.ports = ports
        self._adapters = adapters

    def repair(self, frames: Sequence[bytes]) -> list[RepairFinished]:
        """Have all carried out, IN_FLIGHT at a time; return the results. Raises BenchError on silence."""
        results: list[RepairFinished] = []
        sent, heard_at = 0, time.monotonic()
        while len(results) < len(frames):
            due = frames[sent : len(results) + IN_FLIGHT]
            sent += len(due)
            # As the connection does with frames that wait on its socket together.
            self._dispatcher.handle(*map(decode_to_agent, due))
            self._ready.clear()
            for unsent in self._outbox.next(IN_FLIGHT):
                message = decode_to_server(unsent.frame)
                assert isinstance(message, RepairFinished)
                results.append(message)
                self._outbox.sent(unsent)
                self._dispatcher.handle(Ack(id=new_id(), of=unsent.message_id))
                heard_at = time.monotonic()
            if time.monotonic() - heard_at > QUIET_SECONDS:
                raise BenchError(f"{len(frames) - len(results)} repairs never ended")
            self._ready.wait(0.02)
        return results

    def processor_time(self) -> float:
        """Seconds that the agent has used so far, with all its processes."""
        of_workers = (psutil.Process(one.pid).cpu_times() for one in self._processes if one.pid)
        return time.process_time() + sum(times.user + times.system for times in of_workers)

    def close(self) -> None:
        self._runner.stop(5.0, 5.0)
        for process in self._processes:
            process.end()
        self._journal.close()
        for adapter in self._adapters:
            adapter.close()


@dataclass(frozen=True)
class Run:
    """What was measured: seconds by the clock, and those of the processor, of so many repairs."""

    count: int
    took: float
    cpu: float
    watch: Watch

    @property
    def rate(self) -> float:
        """Repairs a second."""
        return self.count / self.took

    @property
    def each_ms(self) -> float:
        """Milliseconds of the processor for one."""
        return self.cpu * 1000 / self.count


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Repair so many trades of every kind of break with one agent, alone and among very many."""
    best = _run(folder / "alone", sizes.repairs, 0, BY_PROCESSES)
    threads = _run(folder / "threads", sizes.repairs, 0)
    figures = _figures(best, threads)
    for manner in (
        *(Manner(workers, "processes") for workers in FEWER_PROCESSES),
        *(Manner(workers) for workers in FEWER_THREADS),
    ):
        run = _run(folder / f"{manner.pool}-{manner.workers}", sizes.repairs, 0, manner)
        figures.append(_rate(run, manner))
    few = _run(folder / "few", sizes.repairs_among, 0)
    many = _run(folder / "many", sizes.repairs_among, sizes.listed)
    conditions = (
        f"{sizes.repairs_among:,} repairs as above among {sizes.listed:,} other trades, each with a "
        f"repair behind it in production's tables, against as many with no other trade there, in one run; "
        f"workers are {Manner()}"
    )
    return [
        *figures,
        Figure("repairs: time among many trades", many.took / few.took, "×", conditions),
        Figure("repairs: processor time among many trades", many.cpu / few.cpu, "×", conditions),
    ]


def _run(folder: Path, count: int, others: int, manner: Manner = Manner()) -> Run:
    """Repair so many among ``others``."""
    watch, warm_up = Watch(), min(WARM_UP, count)
    folder.mkdir()
    with _beside_a_bank(folder, warm_up + count, others) as (world, configuration, planted):
        line = Line(configuration, watch, manner)
        try:
            frames = [_order(line.ports, trade_no, code) for trade_no, code in planted]
            results = line.repair(frames[:warm_up])
            watch.seconds.clear()
            watch.calls.clear()
            began, cpu_began = time.perf_counter(), line.processor_time()
            results += line.repair(frames[warm_up:])
            run = Run(count, time.perf_counter() - began, line.processor_time() - cpu_began, watch)
        finally:
            line.close()
        if not others and (violations := world.report().violations):  # of others there are rows alone
            raise BenchError(f"the sandbox's books are not sound: {violations[:3]}")
    ended = Counter(result.outcome for result in results)
    if set(ended) != {"repaired"}:
        raise BenchError(f"not every trade was repaired: {dict(ended)}")
    return run


def _figures(best: Run, threads: Run) -> list[Figure]:
    """``threads``: where its calls can be timed, all in this process."""
    watch = threads.watch
    seconds, call = watch.seconds, watch.seconds["bank"] * 1000 / watch.calls["bank"]
    conditions = (
        f"{best.count:,} trades of every kind a fixer mends, after a warm-up; one agent's dispatcher, "
        "runner, journal and adapters, fed frames and acknowledged as a server would, no socket between; "
        f"workers are {BY_PROCESSES}; trades and ledger on SQLite, the sandbox's bank a process of its own, "
        f"{call:.1f} ms a call; {IN_FLIGHT} in flight; {os.cpu_count()} cores; Python {_build()}"
    )
    whole = sum(seconds.values())
    shares = (
        "of the time of all calls to journal, production and bank, waiting for a lock included; workers are "
        f"{Manner()}"
    )
    safety = sum(seconds[word] for word in SAFETY)
    return [
        Figure("repairs", best.rate, "repairs/s", conditions),
        Figure("repairs' processor time", best.each_ms, "ms", "each, of all the agent's processes"),
        _rate(threads, Manner()),
        *(
            Figure(f"repairs: {word}", seconds[word] * 1000 / threads.count, "ms", f"each repair; {shares}")
            for word in ("journal", "steps", "read back", "reading", "row", "ledger", "bank")
        ),
        Figure("repairs: safety's share", 100 * safety / whole, "%", f"{', '.join(SAFETY)} {shares}"),
    ]


def _rate(run: Run, manner: Manner) -> Figure:
    conditions = f"as above; {run.each_ms:.2f} ms of processor each"
    return Figure(f"repairs, {manner}", run.rate, "repairs/s", conditions)


def _build() -> str:
    """The interpreter and how it was built: one without its own optimisations is a tenth slower."""
    is_optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return platform.python_version() + (", optimised build" if is_optimised else "")


def _order(ports: Ports, trade_no: str, fixer_code: str) -> bytes:
    (trade,) = ports.trades.find(trade_no)
    command_id = new_id()
    order = Repair(
        id=command_id,
        command_id=command_id,
        trade_no=trade_no,
        fixer_code=fixer_code,
        row_hash=trade.row_hash,
        fence=1,
        deadline_ms=600_000,
    )
    return encode(order)


def _sent(message: Message) -> None:
    """A hint is written out as for a socket and lost."""
    encode(message)


@contextmanager
def _beside_a_bank(
    folder: Path, count: int, others: int
) -> Iterator[tuple[World, Configuration, list[tuple[str, str]]]]:
    """A sandbox with so many trades to mend among others, its bank running, and an agent's configuration."""
    world, port = World.of(read_settings(folder, {})), free_port()
    bank: subprocess.Popen[bytes] | None = None
    try:
        world.create()
        mended = [one for one in world.load_broken(3 * count) if one.expected.startswith("repair:")][:count]
        bank = start_module(
            folder, "bank", ["sandbox", "--instance", str(folder), "bank", "--port", str(port)]
        )
        configuration = _configuration(folder, world, port)
        create_repair_tables(world, [configuration.file])
        if others:
            _add_others(world, others)
        wait_for(answers(f"http://127.0.0.1:{port}/healthz"), "the bank to answer", QUIET_SECONDS, bank)
        yield world, configuration, [(one.trade_no, one.expected.partition(":")[2]) for one in mended]
    finally:
        if bank is not None:
            stop(bank)
        world.close()


def _add_others(world: World, count: int) -> None:
    """Healthy trades, each with a repair that is done behind it."""
    before = max(row["TRD_ID"] for row in world.all_rows())
    world.load_healthy(count, rows_only=True)
    of_others = f"FROM T{GROUP}_TRD_ACC_TRADE WHERE TRD_ID > {before}"
    with writing(world.production(GROUP).engine) as connection:
        connection.exec_driver_sql(
            f"INSERT INTO piculus_repair ({', '.join(REPAIR_COLUMNS)}) SELECT TRD_NUM, 1, 'done', 1, "
            f"'bench', 'success', '[]', '{{}}', '', 'bench', 'bench', CREATED_AT, CREATED_AT {of_others}"
        )
        connection.exec_driver_sql(
            f"INSERT INTO piculus_repair_step ({', '.join(STEP_COLUMNS)}) SELECT 'PCL:' || TRD_NUM, TRD_NUM, "
            f"1, 1, 'write_row', 'done', 0, CREATED_AT, CREATED_AT, '', 1, 'bench', 'bench' {of_others}"
        )


def _configuration(folder: Path, world: World, bank_port: int) -> Configuration:
    path = folder / "agent.toml"
    (folder / "agents").mkdir()
    path.write_text(
        AGENT_TOML.format(
            name="bench",
            sys_code=GROUP,
            instance=folder,
            server_port=1,
            bank_port=bank_port,
            trade_url=world.trade_url(GROUP),
            ledger_url=world.ledger_url(GROUP),
        )
    )
    return load(path, os.environ)
