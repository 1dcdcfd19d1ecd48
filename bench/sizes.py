"""How much each measurement does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Counts of things; ``days`` the window that rows are spread over."""

    flooding_clients: int = 4
    flooding_frames: int = 100_000
    written_frames: int = 50_000
    agents: int = 100
    broken_trades: int = 1_000
    connected: int = 1_000
    pushes: int = 2_000
    pushes_a_second: int = 100
    trades: int = 1_000_000
    broken_among_them: int = 1_000
    listed: int = 100_000
    visits: int = 40
    repairs: int = 1_000
    repairs_among: int = 300
    open_anomalies: tuple[int, ...] = (100, 1_000, 10_000, 100_000)


FULL = Sizes()
QUICK = Sizes(
    flooding_frames=20_000,
    written_frames=10_000,
    agents=10,
    broken_trades=300,
    connected=100,
    pushes=300,
    trades=100_000,
    broken_among_them=200,
    listed=10_000,
    visits=10,
    repairs=300,
    repairs_among=100,
    open_anomalies=(100, 1_000, 10_000),
)
TINY = Sizes(
    flooding_clients=2,
    flooding_frames=400,
    written_frames=300,
    agents=2,
    broken_trades=30,
    connected=5,
    pushes=10,
    trades=1_000,
    broken_among_them=30,
    listed=200,
    visits=2,
    repairs=20,
    repairs_among=10,
    open_anomalies=(5, 30),
)
"""For the tests."""
