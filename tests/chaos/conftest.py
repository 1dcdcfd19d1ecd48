"""A workshop for schedules, made once a worker."""

from collections.abc import Iterator

import pytest

from chaos.running import workshop as new_workshop
from chaos.simulation.workshop import Workshop


@pytest.fixture(scope="session")
def workshop() -> Iterator[Workshop]:
    """Where schedules are run, one after the other."""
    with new_workshop() as place:
        yield place
