"""Customers, amounts and trade numbers that look like those of a payment company."""

import random
from datetime import datetime

from sandbox.scenes import RECHARGE, Customer
from sandbox.settings import SYSTEM_GROUPS

# Channel and the first digits of its cards.
_CHANNELS = (("ICBC", "622202"), ("ABC", "622848"), ("CCB", "621700"), ("BOC", "621661"), ("CMB", "622588"))


def new_customer(chance: random.Random, serial: int) -> Customer:
    """One customer for each serial; the account number is unique by it, the card passes Luhn."""
    channel, prefix = chance.choice(_CHANNELS)
    while True:
        body = prefix + "".join(chance.choices("0123456789", k=12))
        card = body + _check_digit(body)
        # The bank answers accounts ending so with a refusal: sandbox/bank/books.py.
        if card[-5:-1] != "0000":
            return Customer(f"2088{serial:012d}", card, channel)


def new_amount(chance: random.Random) -> int:
    """Fen: many small amounts, few large, often round yuan."""
    yuan = min(50_000.0, max(1.0, chance.lognormvariate(5.5, 1.2)))
    return int(yuan) * 100 if chance.random() < 0.6 else round(yuan * 100)


def trade_number(sys_code: str, kind: str, at: datetime, trd_id: int) -> str:
    """``CO`` or ``WD``, the second, the group's digit, at least five digits of the trade id.

    All groups ask one bank, and it knows a request by its number alone: numbers must differ across groups.
    """
    prefix = "CO" if kind == RECHARGE else "WD"
    return f"{prefix}{at:%y%m%d%H%M%S}{1 + SYSTEM_GROUPS.index(sys_code)}{trd_id:05d}"


def _check_digit(body: str) -> str:
    total = 0
    for place, digit in enumerate(int(character) for character in reversed(body)):
        doubled = digit * 2 if place % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)
