"""The pure part of limits: whatever is asked, what goes by itself stays within each of them."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from app.guards.limits import UNKNOWN, Asked, Used, has_amount_limit, judge


@dataclass(frozen=True)
class Limits:
    """What a plan limits."""

    limit_trade_minor: int | None = None
    limit_hour_minor: int | None = None
    limit_hour_count: int | None = None
    limit_day_minor: int | None = None
    limit_day_count: int | None = None


def asked(*amounts: int | None, currency: str = "CNY") -> list[Asked]:
    return [Asked(number, amount, currency) for number, amount in enumerate(amounts, start=1)]


def codes(limits: Limits, used: Used, repairs: list[Asked]) -> dict[int, str]:
    found = judge(limits, used, repairs, needs_amount=has_amount_limit(limits))
    return {one: code for one, (code, _figures) in found.items()}


def test_without_limits_everything_goes() -> None:
    assert codes(Limits(), Used(), asked(1, None, 10**15)) == {}


def test_a_limit_is_reached_but_not_passed() -> None:
    assert codes(Limits(limit_trade_minor=500), Used(), asked(500, 501)) == {2: "limit_trade_minor"}
    assert codes(Limits(limit_hour_minor=500), Used(), asked(300, 200, 1)) == {3: "limit_hour_minor"}
    assert codes(Limits(limit_day_count=2), Used(), asked(1, 1, 1)) == {3: "limit_day_count"}


def test_what_is_held_uses_up_nothing() -> None:
    assert codes(Limits(limit_hour_minor=500), Used(), asked(400, 300, 100)) == {2: "limit_hour_minor"}


def test_what_was_begun_before_counts() -> None:
    used = Used(hour_minor=Counter(CNY=400), day_minor=Counter(CNY=900), hour_count=3, day_count=9)
    limits = Limits(limit_hour_minor=500, limit_day_minor=950)
    found = judge(limits, used, asked(60), needs_amount=True)
    assert found == {1: ("limit_day_minor", {"limit": 950, "used": 900, "amount": 60, "currency": "CNY"})}


def test_currencies_are_never_added_together() -> None:
    used = Used(hour_minor=Counter(USD=500))
    repairs = [Asked(1, 500, "CNY"), Asked(2, 1, "USD"), Asked(3, 1, "CNY")]
    assert codes(Limits(limit_hour_minor=500), used, repairs) == dict.fromkeys((2, 3), "limit_hour_minor")


def test_an_amount_nobody_can_read_goes_only_where_no_amount_is_limited() -> None:
    unreadable = [*asked(None, -5), Asked(3, 5, "")]
    assert codes(Limits(limit_hour_count=9), Used(), unreadable) == {}
    assert codes(Limits(limit_day_minor=10**9), Used(), unreadable) == dict.fromkeys((1, 2, 3), UNKNOWN)


amounts = st.none() | st.integers(-10, 2_000)
repairs_of = st.lists(st.tuples(amounts, st.sampled_from(["CNY", "USD", ""])), max_size=30)
limit = st.none() | st.integers(1, 3_000)
count = st.none() | st.integers(1, 12)


@given(st.builds(Limits, limit, limit, count, limit, count), repairs_of, st.integers(0, 3_000))
def test_no_mixture_passes_a_limit(limits: Limits, wanted: list[tuple[int | None, str]], before: int) -> None:
    used = Used(hour_minor=Counter(CNY=before), day_minor=Counter(CNY=before), hour_count=1, day_count=2)
    repairs = [Asked(number, amount, currency) for number, (amount, currency) in enumerate(wanted)]
    held = codes(limits, used, repairs)
    gone = [one for one in repairs if one.id not in held]
    for currency in ("CNY", "USD"):
        moved = sum(one.amount_minor or 0 for one in gone if one.currency == currency and one.is_readable)
        begun = before if currency == "CNY" else 0
        for bound in (limits.limit_hour_minor, limits.limit_day_minor):
            assert bound is None or not moved or begun + moved <= bound
    if limits.limit_trade_minor is not None:
        assert all((one.amount_minor or 0) <= limits.limit_trade_minor for one in gone)
    if has_amount_limit(limits):
        assert all(one.is_readable for one in gone)
    assert limits.limit_hour_count is None or not gone or 1 + len(gone) <= limits.limit_hour_count
    assert limits.limit_day_count is None or not gone or 2 + len(gone) <= limits.limit_day_count
    if not any(vars(limits).values()):
        assert held == {}
