"""A courier that sends through a fake, on the clock that is set by hand."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.alerts.courier import Courier
from app.extensions import db
from tests.app.alerts.receiver import Receiver, receiving
from tests.conftest import HandClock
from tests.fakes.alert_sender import FakeSender


class Rounds:
    """The courier's rounds, run by hand."""

    def __init__(self, courier: Courier, clock: HandClock) -> None:
        self.courier = courier
        self._clock = clock

    def run(self, seconds: float = 0, step: float = 5) -> None:
        """Let ``seconds`` pass, with a round each ``step`` and one at the end; what is claimed is sent."""
        left = seconds
        while left > 0:
            self._clock.advance(min(step, left))
            left -= step
            self.run()
        for letter in self.courier.run_round():
            self.courier.post(letter)
        db.session.expire_all()


@pytest.fixture
def sender(app: Flask) -> FakeSender:
    sender = FakeSender()
    app.extensions["alert_sender"] = sender
    return sender


@pytest.fixture
def rounds(app: Flask, sender: FakeSender, clock: HandClock) -> Rounds:
    courier = Courier(app, sender)
    app.extensions["courier"] = courier
    return Rounds(courier, clock)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one
