"""Opening the door of a wallet: paper only, on the terms of configuration and tenant, and what a dry run may look at."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from world import AGENT, NOON, WALLET, World, deployment_row

from tradeagent.brokers.refusing import RefusingBroker
from tradeagent.domain.clock import SimulatedClock
from tradeagent.domain.errors import InvalidConfig, RefusedError
from tradeagent.domain.limits import WALLET_WIDE, resolve_limits
from tradeagent.domain.names import Actor, LimitKind, Rule
from tradeagent.execution.opening import Door, DoorMode, Tenant, costs_of, instruments_of, manual_limits, network_of, open_door
from tradeagent.ledger import runs, wallets
from tradeagent.ledger.store import create_ledger
from tradeagent.ledger.wallets import WalletRow
from tradeagent.workspace.config import load_config
from tradeagent.workspace.paths import Workspace

D = Decimal
PAPER = WalletRow(WALLET, "paper", "paper", "agent", {}, NOON)


def opened(root: Path, wallet: WalletRow = PAPER, config: str = "", **more: object) -> Door:
    workspace = Workspace(root)
    workspace.config_file.write_text(config)
    ledger = create_ledger(workspace.ledger_file)
    with ledger.transaction() as tx:
        wallets.create(tx, wallet)
        runs.add_deployment(tx, deployment_row(NOON))
        token = runs.take_lease(tx, wallet.name, "me", None, NOON)
    return open_door(workspace, load_config(workspace.config_file, {}), ledger, wallet, SimulatedClock(NOON), token=token, **more)  # type: ignore[arg-type]


def shut(door: Door) -> None:
    door.close()
    door.engine.ledger.close()


@pytest.mark.parametrize("network", ["mainnet", "testnet", "rehearsal"])
def test_only_a_paper_wallet_opens(network: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        opened(tmp_path, WalletRow(WALLET, "hyperliquid", network, "agent", {}, NOON))
    assert caught.value.code == Rule.LIVE_GATE.value and network in caught.value.message
    assert network_of(WalletRow(WALLET, "hyperliquid", network, "agent", {}, NOON)) == ("paper" if network == "rehearsal" else "live")


def test_a_free_wallet_is_a_persons(tmp_path: Path) -> None:
    door = opened(
        tmp_path,
        WalletRow(WALLET, "paper", "paper", "agent", {"max_leverage": "7"}, NOON),
        "manual:\n  limits:\n    max_leverage: 6\n    max_open_positions: 2\n",
    )
    terms = door.engine.terms
    assert Actor.AGENT not in terms
    limits = terms[Actor.MANUAL].limits
    assert (limits.number("max_leverage"), limits.number("max_open_positions"), limits.number("max_position_pct")) == (7, 2, 100)
    assert terms[Actor.SYSTEM].limits == limits
    shut(door)


def test_a_tenant_brings_its_own_terms(tmp_path: Path) -> None:
    tenant = Tenant(AGENT, "momentum", frozenset({"BTC"}), resolve_limits(LimitKind.AGENT, {}), D(5))
    door = opened(tmp_path, tenant=tenant)
    terms = door.engine.terms
    assert (terms[Actor.AGENT].scope.controller_id, terms[Actor.AGENT].scope.markets, terms[Actor.AGENT].budget_cap) == (AGENT, {"BTC"}, 5)
    assert terms[Actor.SYSTEM].limits is tenant.limits and terms[Actor.MANUAL].limits.kind is LimitKind.MANUAL
    assert {term.scope.deployment for term in terms.values()} == {AGENT}
    shut(door)


def test_a_person_shares_the_caps_on_the_whole_wallet_with_its_tenant(tmp_path: Path) -> None:
    tenant = Tenant(AGENT, "momentum", frozenset({"BTC"}), resolve_limits(LimitKind.AGENT, {"max_leverage": 5}))
    wallet = WalletRow(WALLET, "paper", "paper", "agent", {"max_leverage": "2", "max_daily_loss_quote": "80"}, NOON)
    door = opened(tmp_path, wallet, tenant=tenant)
    limits = door.engine.terms[Actor.MANUAL].limits
    assert limits.kind is LimitKind.MANUAL
    assert limits.number("max_leverage") == 2, "a person's own stays where it is tighter"
    shared = {key: tenant.limits.number(key) for key in WALLET_WIDE if key != "max_leverage"}
    assert {key: limits.number(key) for key in shared} == shared
    assert shared["max_total_exposure_pct"] == 100 and shared["max_daily_loss_quote"] == 50 and shared["max_portfolio_risk_quote"] == 50
    own = manual_limits(load_config(tmp_path / "config.yml", {}), wallet)
    assert {key: value for key, value in limits.values.items() if key not in WALLET_WIDE} == {
        key: value for key, value in own.values.items() if key not in WALLET_WIDE
    }
    shut(door)


def test_a_tenants_missing_cap_loosens_nothing(tmp_path: Path) -> None:
    wallet = WalletRow(WALLET, "paper", "paper", "agent", {"max_daily_loss_quote": "80", "max_portfolio_risk_quote": "30"}, NOON)
    tenant = Tenant(AGENT, "cross", frozenset({"BTC"}), resolve_limits(LimitKind.ALGO, {}), actor=Actor.ALGO)
    door = opened(tmp_path, wallet, tenant=tenant)
    limits = door.engine.terms[Actor.MANUAL].limits
    assert (limits.number("max_daily_loss_quote"), limits.number("max_portfolio_risk_quote"), limits.number("max_daily_loss_pct")) == (
        80,
        30,
        5,
    )
    shut(door)


def test_limits_over_the_ceiling_are_refused_when_the_door_opens(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="max_leverage"):
        opened(tmp_path, WalletRow(WALLET, "paper", "paper", "agent", {"max_leverage": "51"}, NOON))


def test_costs_and_markets_come_from_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("paper:\n  taker_fee_bps: 10\n  slippage_bps: 5\n")
    config = load_config(file, {})
    assert (costs_of(config).fees.taker, costs_of(config).fees.maker, costs_of(config).slippage_bps) == (D("0.001"), D("0.00015"), 5)
    assert instruments_of(config)["BTC"].size_decimals == 5
    assert manual_limits(config, PAPER).kind is LimitKind.MANUAL


def test_a_market_of_the_persons_own_is_known_beside_the_built_in_ones(tmp_path: Path) -> None:
    door = opened(tmp_path, config="instruments:\n  MINE:\n    size_decimals: 2\n    max_leverage: 7\n")
    known = door.engine.markets["MINE"].instrument
    assert (known.size_decimals, known.max_leverage) == (2, 7)
    assert {"BTC", "ETH", "MINE"} <= door.engine.markets.keys() == instruments_of(load_config(tmp_path / "config.yml", {})).keys()
    shut(door)


def test_a_dry_runs_door_holds_no_broker_that_can_write(tmp_path: Path) -> None:
    door = opened(tmp_path, mode=DoorMode(dry_run=True))
    assert isinstance(door.engine.broker, RefusingBroker) and door.engine.dry_run
    shut(door)


def test_looking_shows_the_newest_closed_bar_without_playing_it(new_world: Callable[..., World]) -> None:
    world = new_world(dry_run=True)
    world.play(BTC=101)
    for name, market in world.engine.markets.items():
        world.engine.markets[name] = type(market)(market.instrument)
    seqs = [a.seq for a in world.paper.activity_since(0)]
    world.playback.look(world.now)
    assert (world.price("BTC"), world.price("ETH")) == (101, 50)
    assert [a.seq for a in world.paper.activity_since(0)] == seqs
    world.playback.look(0)
    assert world.price("BTC") == 101


@pytest.mark.parametrize(("written", "path"), [("", "adverse"), ("paper:\n  path: nearest\n", "nearest")])
def test_the_path_within_a_bar_is_the_configured_one(tmp_path: Path, written: str, path: str) -> None:
    door = opened(tmp_path, config=written)
    assert door.paper._config.path == path
    shut(door)


@pytest.mark.parametrize(("written", "percent"), [("", None), ("fills:\n  volume_cap: 0.1\n", 10), ("fills:\n  volume_cap: 0.001\n", 1)])
def test_the_volume_cap_of_the_configuration_binds_the_paper_account(tmp_path: Path, written: str, percent: int | None) -> None:
    door = opened(tmp_path, config=written)
    assert door.paper._config.volume_cap_pct == percent
    shut(door)
