"""What the demo does about a process that ends."""

import sys
from pathlib import Path

import pytest

from deploy import places
from deploy.child import RESTARTS_A_MINUTE, Child
from deploy.supervisor import watch


class Until:
    """A stop that comes once ``child`` is given up."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def is_set(self) -> bool:
        return self._child.is_given_up


class Minutes:
    """A clock that a minute passes on each time ``child`` rests, and a stop once it has rested twice."""

    def __init__(self) -> None:
        self.child: Child
        self._passed = 0
        self.began_at_rest: list[int] = []

    def clock(self) -> float:
        return 60.0 * self._passed

    @property
    def is_set(self) -> bool:
        if self.child.is_resting:
            self._passed += 1
            self.began_at_rest.append(len(self.child.starts))
        return self._passed == 2


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOGS", tmp_path)


def ending(code: int, *, is_needed: bool) -> Child:
    child = Child("one", [sys.executable, "-c", f"exit({code})"], {}, is_needed=is_needed)
    child.start()
    return child


def test_a_revoked_agent_stays_stopped_and_the_demo_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    agent = ending(4, is_needed=False)
    assert (watch([agent], Until(agent)), len(agent.starts)) == (0, 1)
    assert f"write its new token into {places.SECRETS / 'one'}.token" in capsys.readouterr().err


def test_an_agent_that_ends_again_and_again_rests_for_a_minute_and_is_started_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    minutes = Minutes()
    agent = minutes.child = Child(
        "one", [sys.executable, "-c", "exit(1)"], {}, is_needed=False, clock=minutes.clock
    )
    agent.start()
    assert watch([agent], minutes) == 0
    assert minutes.began_at_rest == [RESTARTS_A_MINUTE, RESTARTS_A_MINUTE]
    assert capsys.readouterr().err.count("ends again and again") == 2


def test_the_demo_ends_with_a_server_that_ends_again_and_again() -> None:
    server = ending(1, is_needed=True)
    assert (watch([server], Until(server)), len(server.starts)) == (1, RESTARTS_A_MINUTE)
