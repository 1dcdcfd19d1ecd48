"""Which processes the demo starts."""

import pytest

from deploy import demo


@pytest.mark.parametrize(("traffic", "trades"), [("1", True), ("0", False)])
def test_a_demo_with_or_without_new_trades_hears_the_banks_notices(
    traffic: str, trades: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICULUS_TRAFFIC", traffic)
    (child,) = [child for child, _ in demo.children(5990, 5980) if child.name == "traffic"]
    assert ("--rate" not in child.arguments) is trades
    assert "--no-notices" not in child.arguments
