"""An agent's configuration as adapters and settings: what every process of an agent builds for itself."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import msgspec

from agent.adapters.bank_http import HttpBank
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.narrow import number_pattern
from agent.adapters.trade_db import SqlTrades
from agent.config import Configuration, LimitsSection
from agent.decision import RowCodes
from agent.errors import ConfigurationError
from agent.fixers import Fixer, with_entry_points
from agent.fixers.order import Limits, RepairSettings
from agent.ports import Ports
from agent.protocol import MOST, AgentLimits
from agent.stop_file import StopFile
from agent.work import ProductionWork

R = TypeVar("R")


def production_work(configuration: Configuration) -> ProductionWork:
    """Return the work of this agent on adapters of its own; connects nowhere yet but to production.

    Raises ConfigurationError.
    """
    ports = Ports(trades_of(configuration), ledger_of(configuration), bank_of(configuration))
    name = configuration.tables.agent.name
    return ProductionWork(name, ports, repair_settings(configuration), offered_fixers(configuration))


def offered_fixers(configuration: Configuration) -> Mapping[str, Fixer]:
    """Return the fixers this agent offers: those named in [agent] that [limits] allows.

    Raises ConfigurationError for a code nobody has.
    """
    tables = configuration.tables
    known = with_entry_points(tables.agent.entry_points)
    offered = known
    for key, codes in (("agent.fixers", tables.agent.fixers), ("limits.fixers", tables.limits.fixers)):
        if codes is None:
            continue
        if unknown := [code for code in codes if code not in known]:
            raise ConfigurationError(f"{configuration.file}: {key}: there is no fixer {', '.join(unknown)}")
        offered = {code: offered[code] for code in codes if code in offered}
    return offered


def repair_settings(configuration: Configuration) -> RepairSettings:
    """Return what holds for every repair of this agent."""
    tables = configuration.tables
    codes = tables.trades.names.codes
    return RepairSettings(
        sys_code=tables.agent.sys_code,
        stuck_after=timedelta(seconds=tables.guard.stuck_after),
        quiet_for=timedelta(seconds=tables.guard.quiet_for),
        number_pattern=rf"^(?:{number_pattern(codes).pattern})\Z",
        codes=RowCodes(
            success=codes.success, failed=codes.failed, booked=codes.booked, not_booked=codes.not_booked
        ),
        max_age=timedelta(days=tables.limits.max_age_days),
        limits=limits_of(tables.limits),
        stopped=StopFile(configuration.stop_file).reason,
    )


def limits_of(section: LimitsSection) -> Limits:
    """Return what this agent does at most."""
    return Limits(
        max_amount_minor=section.max_amount_minor,
        max_amount_minor_per_hour=section.max_amount_minor_per_hour,
        max_amount_minor_per_day=section.max_amount_minor_per_day,
        max_trades_per_hour=section.max_trades_per_hour,
        max_trades_per_day=section.max_trades_per_day,
    )


def told_limits(section: LimitsSection) -> AgentLimits:
    """Return what the server is told of that. More than a frame can say is no limit to anyone."""
    kept = {name: getattr(section, name) for name in AgentLimits.__struct_fields__}
    return msgspec.convert({name: _sayable(value) for name, value in kept.items()}, AgentLimits)


def trades_of(configuration: Configuration) -> SqlTrades:
    """Return the trade database. Raises ConfigurationError."""
    url, names = configuration.trades_url(), configuration.tables.trades.names
    return _built(configuration, "trades", lambda: SqlTrades(url, names, is_alone=_is_alone(configuration)))


def ledger_of(configuration: Configuration) -> SqlLedger:
    """Return the ledger. Raises ConfigurationError."""
    url, names = configuration.ledger_url(), configuration.tables.ledger.names
    return _built(configuration, "ledger", lambda: SqlLedger(url, names, is_alone=_is_alone(configuration)))


def bank_of(configuration: Configuration) -> HttpBank:
    """Return the bank. Raises ConfigurationError."""
    section, token = configuration.tables.bank, configuration.bank_token()
    return _built(configuration, "bank", lambda: HttpBank(section.base_url, token, section.names))


def _is_alone(configuration: Configuration) -> bool:
    """Whether one thread of a process carries out repairs."""
    agent = configuration.tables.agent
    return agent.pool == "processes" or agent.workers == 1


def _built(configuration: Configuration, section: str, build: Callable[[], R]) -> R:
    """Return the adapter; what it finds wrong in its configuration is said with file and section."""
    try:
        return build()
    except ConfigurationError as error:
        raise ConfigurationError(f"{configuration.file}: {section}: {error}") from error


def _sayable(value: int | dict[str, int] | None) -> int | dict[str, int] | None:
    if isinstance(value, dict):
        return {currency: min(amount, MOST) for currency, amount in value.items()}
    return value if value is None else min(value, MOST)
