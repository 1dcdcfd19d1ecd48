from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sandbox.bank.client import BankClient
from sandbox.bank.server import RunningBank
from sandbox.clock import ManualClock
from sandbox.world import World
from tests.databases import each_database  # noqa: F401 - a fixture

NOON = datetime(2026, 3, 2, 12, 0, 20)  # noqa: DTZ001 - naive UTC, as the databases keep it


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    world = World.created(tmp_path, clock=clock)
    yield world
    world.close()


@pytest.fixture
def bank(world: World) -> Iterator[RunningBank]:
    with world.bank() as running:
        yield running


@pytest.fixture
def client(bank: RunningBank) -> Iterator[BankClient]:
    client = BankClient(bank.url, bank.token)
    yield client
    client.close()
