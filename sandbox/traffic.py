"""A slow stream of trades, a stated share of which is interrupted at a random point."""

import random
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from sandbox.bank.client import BankClient
from sandbox.errors import SandboxError, UnknownAccountError
from sandbox.people import new_amount, new_customer
from sandbox.production import Production
from sandbox.scenes import RECHARGE, SINGLE_STEP, TWO_STEP, WITHDRAW, Customer
from sandbox.trading import TradeOrder, TradeSystem

CUSTOMERS = 20
OPENING_MINOR = 100_000_000
SHARE_REFUSED = 0.05
SHARE_REPLY_LOST = 0.15
_FIRST_SERIAL = 900_000_000
# A trade of the kind has this many steps when all goes well; an interruption leaves out the last at least.
_STEPS: Mapping[tuple[str, str | None], int] = {
    (RECHARGE, None): 7,
    (WITHDRAW, SINGLE_STEP): 6,
    (WITHDRAW, TWO_STEP): 8,
}


class Stream:
    """The trades of one group. The same seed gives the same orders and interruptions."""

    def __init__(self, production: Production, bank: BankClient, interrupted: float, seed: int) -> None:
        self._system = TradeSystem(production, bank)
        self._chance = random.Random(f"{seed}:{production.sys_code}:traffic")
        self._interrupted = interrupted
        self._customers = _open_customers(production)

    def trade(self) -> list[str]:
        """One trade; returns the steps it did before it ended or was interrupted."""
        order = self._order()
        if self._chance.random() >= self._interrupted:
            return self._system.run(order)
        if self._chance.random() < SHARE_REPLY_LOST:
            return self._system.run(order, loses_reply=True)
        return self._system.run(order, self._chance.randrange(1, _STEPS[order.kind, order.mode]))

    def _order(self) -> TradeOrder:
        kind, mode = self._chance.choice(tuple(_STEPS))
        customer = self._chance.choice(self._customers)
        if self._chance.random() < SHARE_REFUSED:
            # The bank knows accounts ending so as empty or closed: sandbox/bank/books.py.
            ending = "00003" if kind == RECHARGE else "00001"
            customer = replace(customer, bank_account_no=customer.bank_account_no[:-5] + ending)
        return TradeOrder(kind, mode, new_amount(self._chance), customer)


def run_traffic(streams: list[Stream], rate: float, stopping: threading.Event, seed: int) -> int:
    """``rate`` trades a second over all streams until told to stop; returns how many began.

    A rate of 0 begins none and waits.
    """
    if not rate:
        stopping.wait()
        return 0
    chance = random.Random(f"{seed}:order")
    began = 0
    # The first groups trade more: PBAP twice as often as PBMS.
    weights = [len(streams) - index for index in range(len(streams))]
    while not stopping.wait(chance.expovariate(rate)):
        try:
            chance.choices(streams, weights)[0].trade()
        except (SandboxError, SQLAlchemyError) as error:
            # Production would be interrupted by it, too: the trade stays as it is, the stream goes on.
            print(f"trade interrupted: {type(error).__name__}: {error}", file=sys.stderr)
        began += 1
    return began


def _open_customers(production: Production) -> list[Customer]:
    """The stream's own customers, the same after a restart."""
    customers = []
    for index in range(CUSTOMERS):
        serial = _FIRST_SERIAL + index
        customer = new_customer(random.Random(serial), serial)
        try:
            production.ledger.balance(customer.account_no)
        except UnknownAccountError:
            production.ledger.open_account(customer.account_no, OPENING_MINOR)
        customers.append(customer)
    return customers
