"""A unit of work that lasts the whole test, for services tested on their own."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.unit_of_work import WorkSession, unit_of_work


@pytest.fixture
def session(app: Flask) -> Iterator[WorkSession]:
    """An open unit of work; what a test asserts it has flushed and read back."""
    with unit_of_work() as work:
        yield work
