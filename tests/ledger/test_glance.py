"""The plain reading of the ledger that `status` lives on: it sees what the repositories wrote, and loads nothing heavy for it."""

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.domain.clock import DAY_MS
from tradeagent.domain.errors import DataError, NotFound
from tradeagent.domain.names import EventKind, IncidentCode, Level, ReconcilePhase
from tradeagent.ledger import events, notes, runs, trading, wallets
from tradeagent.ledger.glance import Held, glance
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.store import Ledger, create_ledger
from tradeagent.ledger.trading import PositionRow
from tradeagent.ledger.wallets import REPLAY, WalletRow

NOON = 20_000 * DAY_MS + DAY_MS // 2


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = create_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def deployment(number: int, wallet: str) -> DeploymentRow:
    return DeploymentRow(
        id=f"a_{number}",
        kind="agent",
        slug="a",
        wallet=wallet,
        version=1,
        mode="loop",
        state="running",
        number=number,
        model="offline/momentum",
        markets=["BTC"],
        limits={},
        source={},
        equity_start=Decimal(100),
        ticks=number,
        failures=0,
        created_ms=NOON + number,
        ended_ms=None,
        last_tick_ms=NOON,
        next_tick_ms=None,
        stopped_because=None,
        boot_id="b",
        pid=1,
    )


def fill(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        for name in ("live", "past"):
            wallets.create(tx, WalletRow(name, "paper", "paper", "agent", {}, NOON))
            runs.add_deployment(tx, deployment(1 if name == "past" else 2, name))
        row = wallets.risk(tx, "past").with_flow(Decimal("100.5"), Decimal(0), NOON)
        wallets.save_risk(tx, replace(row, market_clock_ms=NOON, clock_source=REPLAY, halt="by a person"))
        trading.save_positions(
            tx,
            [
                PositionRow("live", "BTC", "", Decimal("-0.5"), Decimal("-50"), mark=Decimal("99.5")),
                PositionRow("live", "BTC", "a_2", Decimal("-0.5"), Decimal("-50")),
                PositionRow("live", "ETH", "", Decimal("0.000"), Decimal(0)),
            ],
        )
        for phase in (ReconcilePhase.CHECKING, ReconcilePhase.FAILED):
            events.append(tx, EventKind.RECONCILE_PHASE, NOON, wallet="past", data={"phase": phase.value})
        notes.open_incident(tx, "i1", notes.Incident(IncidentCode.TICK_FAILED, Level.ERROR, "m", "live", "a_2"), NOON)
        notes.put_setting(tx, notes.KILL_SWITCH, True)


def test_it_sees_what_the_repositories_wrote(ledger: Ledger) -> None:
    fill(ledger)
    seen = glance(ledger.file)
    assert [(run.id, run.wallet, run.ticks, run.network) for run in seen.runs] == [("a_2", "live", 2, "paper"), ("a_1", "past", 1, "paper")]
    live, past = seen.runs
    assert (live.clock_ms, live.market_clock_ms, live.halt) == (None, None, None)
    assert (past.clock_ms, past.cash, past.halt, past.day.start_equity) == (NOON, Decimal("100.5"), "by a person", Decimal("100.5"))
    with ledger.reading() as tx:
        assert past.day == wallets.risk(tx, "past").day
    assert seen.held == {"live": [Held(Decimal("-0.5"), Decimal("-50"), Decimal("99.5"))]}, "the net position only, and no flat one"
    assert seen.phases == {"past": ReconcilePhase.FAILED}
    assert (seen.incidents, seen.networks, seen.kill_switch) == ({"a_2": 1}, frozenset({"paper"}), True)


def test_an_empty_ledger_shows_nothing(ledger: Ledger) -> None:
    seen = glance(ledger.file)
    assert (seen.runs, seen.held, seen.incidents, seen.kill_switch) == ((), {}, {}, False)


def test_what_cannot_be_opened_is_said_as_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no ledger at"):
        glance(tmp_path / "ledger.sqlite")
    (tmp_path / "ledger.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(DataError, match="cannot be read as a ledger"):
        glance(tmp_path / "ledger.sqlite")


def test_status_loads_no_sqlalchemy() -> None:
    script = (
        "import sys, tradeagent.runtime.status; print([m for m in ('sqlalchemy', 'filelock', 'pydantic', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
