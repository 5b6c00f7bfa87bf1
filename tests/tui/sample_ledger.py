"""A ledger written by hand, the same every time, for pictures of the screen: no strategy, fee or seed can change it."""

from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from tradeagent.domain.limits import resolve_limits
from tradeagent.domain.names import Actor, EventKind, IncidentCode, Level, LimitKind
from tradeagent.execution.reading import limits_out
from tradeagent.ledger import events, notes
from tradeagent.ledger.runs import DeploymentRow
from tradeagent.ledger.schema import deployments, orders, positions, risk_state, wallets
from tradeagent.ledger.store import create_ledger
from tradeagent.ledger.trading import NET, OrderRow, PositionRow
from tradeagent.ledger.wallets import RiskRow, WalletRow
from tradeagent.runtime.lease import boot_id
from tradeagent.workspace.paths import Workspace

NOW = 1_770_000_000_000  # 2026-02-02 02:40:00 UTC
BAR = NOW - 12_000
MINUTE = 60_000
WALLET, AGENT = "swing", "btc_swing_3"
TRANSCRIPT = """## tick 41 · 2026-02-02 02:35 UTC

The averages are apart by **0.31 ATR** and the last three closes agree, so the long stays. What would prove it wrong:

- a close below `77,950`
- funding above 0.01 % an hour

> **modify_protection** ok: executed

## tick 42 · 2026-02-02 02:40 UTC

Nothing has changed since the last tick. [red]Brackets[/red] and <tags> are only letters here.

> **propose_order** refused: DAILY_TRADES 12 of 12 entries are used

| level | price |
|-------|-------|
| stop  | 77,950 |

"""


def build(root: Path) -> Workspace:
    """The workspace below `root`: one running agent, one that was interrupted, one on a network with real money."""
    workspace = Workspace(root)
    for folder in (root, workspace.state_dir, workspace.threads_dir, workspace.locks_dir):
        folder.mkdir(parents=True, exist_ok=True)
    workspace.config_file.write_text("")
    ledger = create_ledger(workspace.ledger_file)
    with ledger.transaction() as tx:
        _wallet(tx, WALLET, "paper", "10212.40", "10190.05")
        _wallet(tx, "main", "mainnet", "2500", "2506.1")
        for row in (
            _deployment(AGENT, WALLET, "running", "anthropic/claude-sonnet-4-5", ticks=42),
            _deployment("eth_revert_1", "main", "interrupted", "offline/mean_reversion", ticks=7),
        ):
            tx.execute(insert(deployments).values(**asdict(row)))
        _position(tx)
        _events(tx)
    ledger.close()
    (workspace.threads_dir / f"{AGENT}.md").write_text(TRANSCRIPT)
    return workspace


def _wallet(tx: Connection, name: str, network: str, cash: str, day_start: str) -> None:
    venue = "paper" if network == "paper" else "hyperliquid"
    tx.execute(insert(wallets).values(**asdict(WalletRow(name, venue, network, "agent", {}, NOW - 90 * MINUTE))))
    start, money = Decimal(day_start), Decimal(cash)
    risk = RiskRow(
        wallet=name,
        cash=money,
        flows=start,
        nav_units=start,
        nav_peak=Decimal("1.02"),
        day_start_ms=NOW - NOW % 86_400_000,
        day_start_equity=start,
        peak_equity=Decimal("10400"),
        last_equity=money + (6 if name == WALLET else 0),
        last_equity_ms=BAR,
        market_clock_ms=BAR,
        clock_source="wall",
        entries_today={"agent": 12},
    )
    tx.execute(insert(risk_state).values(**asdict(risk)))


def _deployment(name: str, wallet: str, state: str, model: str, *, ticks: int) -> DeploymentRow:
    slug, _, number = name.rpartition("_")
    is_running = state == "running"
    return DeploymentRow(
        id=name,
        kind="agent",
        slug=slug,
        wallet=wallet,
        version=1,
        mode="loop",
        state=state,
        number=int(number),
        model=model,
        markets=["BTC"],
        limits=limits_out(resolve_limits(LimitKind.AGENT, {})),
        source={"replay": None, "speed": "1"},
        equity_start=Decimal(10_000),
        ticks=ticks,
        failures=0,
        created_ms=NOW - (60 if is_running else 80) * MINUTE,
        ended_ms=None if is_running else NOW - 30 * MINUTE,
        last_tick_ms=NOW - 258_000,
        next_tick_ms=NOW + 42_000,
        stopped_because=None,
        boot_id=boot_id(),
        pid=1,
    )


def _position(tx: Connection) -> None:
    size, cost, mark = Decimal("0.0062"), Decimal("483.6"), Decimal("78967.7")
    trip = {"first_stop": "77400", "fees": "0.217620", "opened_ms": NOW - 40 * MINUTE}
    common: dict[str, Any] = {"wallet": WALLET, "market": "BTC", "size": size, "cost": cost, "leverage": 3, "entries": 1}
    tx.execute(insert(positions).values(**asdict(PositionRow(**common, controller_id=NET, mark=mark, mark_ms=BAR))))
    tx.execute(insert(positions).values(**asdict(PositionRow(**common, controller_id=AGENT, trip=trip))))
    for number, leg, kind, trigger in ((1, "stop", "stop_market", "77950"), (2, "target", "take_profit_market", "80400")):
        _order(tx, number, leg, kind, size, trigger=Decimal(trigger), side="sell")
    _order(tx, 3, "entry", "limit", Decimal("0.0012"), price=Decimal(77_100), side="buy")


def _order(tx: Connection, number: int, leg: str, kind: str, size: Decimal, **level: Any) -> None:
    row = OrderRow(
        cloid=f"0x{number}",
        intent_id=f"intent{number}",
        wallet=WALLET,
        deployment=AGENT,
        controller_id=AGENT,
        oid=number,
        market="BTC",
        side=level["side"],
        type=kind,
        leg=leg,
        size=size,
        filled=Decimal(0),
        price=level.get("price"),
        trigger=level.get("trigger"),
        tif="gtc",
        reduce_only=leg != "entry",
        parent_cloid=None,
        state="open",
        reason="",
        created_ms=NOW - number * MINUTE,
        updated_ms=NOW,
    )
    tx.execute(insert(orders).values(**asdict(row)))


def _events(tx: Connection) -> None:
    where: dict[str, Any] = {"wallet": WALLET, "deployment": AGENT}
    fill = {"market": "BTC", "side": "buy", "size": "0.0062", "price": "78000", "fee": "0.217620", "realised_pnl": "0"}
    events.append(tx, EventKind.FILL, NOW - 40 * MINUTE, data=fill, **where)
    tick = {"tick": 42, "state": "done", "rule": None, "action": "hold BTC", "reason": "stop", "pnl": "6", "open": 1}
    events.append(tx, EventKind.TICK_FINISHED, NOW - 258_000, data=tick, **where)
    refused = {"market": "BTC", "side": "buy", "rule": "DAILY_TRADES", "message": "12 of 12 entries are used today"}
    events.append(tx, EventKind.PROPOSAL_REJECTED, NOW - 4 * MINUTE, actor=Actor.AGENT, data=refused, **where)
    incident = notes.Incident(IncidentCode.INTERRUPTED, Level.WARNING, "the runner of eth_revert_1 is gone", "main", "eth_revert_1")
    notes.open_incident(tx, "incident1", incident, NOW - 3 * MINUTE)
