"""What is used of the limits: figures of an account by hand, and the rows that a person reads."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from world import AGENT, World

from tradeagent.execution.usage import entry_time_rows, limit_usage, used_limits
from tradeagent.ledger.trading import Reservation
from tradeagent.workspace.config import load_config

D = Decimal
NewWorld = Callable[..., World]


def trading_world(new_world: NewWorld) -> World:
    """Long 10 BTC at 100 with a stop at 95, short 20 ETH at 50 without one; then BTC is at 98."""
    world = new_world(limits={"max_portfolio_risk_quote": 2000, "max_open_positions": 3, "max_daily_trades": 5})
    world.submit(size=10, stop=95)
    world.submit("sell", "ETH", size=20)
    world.play(BTC=("100", "100", "98", "98"))
    return world


def test_what_is_used_of_every_limit_that_adds_up(new_world: NewWorld) -> None:
    state = trading_world(new_world).state()
    equity = D(9_980)
    assert used_limits(state) == {
        "max_position_size_quote": D(1_980),
        "max_position_pct": D(1_000) / equity * 100,
        "max_total_exposure_pct": D(1_980) / equity * 100,
        "max_leverage": D(1_980) / equity,
        "max_open_executors": 0,
        "max_open_positions": 2,
        "max_positions_per_market": 1,
        "max_daily_loss_quote": 20,
        "max_daily_loss_pct": D("0.2"),
        "max_drawdown_pct": D("0.2"),
        "halt_drawdown_pct": D("0.2"),
        "max_portfolio_risk_quote": 50 + 1_000,
        "max_daily_trades": 2,
        "max_market_risk_pct": 50,
    }


def test_what_is_not_sent_yet_is_used_and_a_day_of_profit_uses_no_loss(new_world: NewWorld) -> None:
    world = trading_world(new_world)
    kept = Reservation("before", "w", "BTC", AGENT, AGENT, "buy", D(5), D(98), D(30), 1)
    used = used_limits(replace(world.state(), reservations=(kept,)))
    assert (used["max_position_size_quote"], used["max_portfolio_risk_quote"]) == (D(1_980) + 5 * 98, 1_080)
    world.play(BTC=("98", "110", "98", "110"))
    used = used_limits(world.state())
    assert (used["max_daily_loss_quote"], used["max_daily_loss_pct"], used["max_drawdown_pct"]) == (0, 0, 0)


def test_an_account_with_nothing_left_uses_its_limits_of_one_unit(new_world: NewWorld) -> None:
    world = new_world(cash=0)
    used = used_limits(world.state())
    assert set(used.values()) == {0} and "max_market_risk_pct" not in used, "there is no portfolio risk to be a part of"
    state = trading_world(new_world).state()
    ruined = replace(state, risk=replace(state.risk, cash=D(-1_980), day_start_equity=D(0)))
    used = used_limits(ruined)
    assert (used["max_leverage"], used["max_total_exposure_pct"], used["max_daily_loss_pct"]) == (1_980, 198_000, 0)


def test_a_row_of_a_limit_says_what_is_left_and_never_less_than_nothing(new_world: NewWorld) -> None:
    state = trading_world(new_world).state()
    rows = {row.key: row for row in limit_usage(state, "paper")}
    assert [rows[key].left for key in ("max_open_positions", "max_daily_trades", "max_portfolio_risk_quote")] == [1, 3, 950]
    assert rows["require_stops"].left is None and rows["max_daily_loss_quote"].left is None, "a switch, and a limit that is off"
    crowded = replace(state, limits=replace(state.limits, values={**state.limits.values, "max_open_positions": D(1)}))
    over = next(row for row in limit_usage(crowded, "paper") if row.key == "max_open_positions")
    assert over.left == 0
    assert over.as_dict() == {
        "key": "max_open_positions",
        "value": "1",
        "used": "2",
        "left": "0",
        "origin": over.origin,
        "ceiling": None if over.ceiling is None else f"{over.ceiling:f}",
    }
    assert rows["require_stops"].as_dict()["value"] is False and rows["max_daily_loss_quote"].as_dict()["value"] is None
    assert rows["require_stops"].as_dict()["used"] is None


def test_the_times_of_entries_stand_beside_the_limits(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    for text, lockout in (("", None), ("trading:\n  news_lockout_min: 15\n", "15")):
        file.write_text(text)
        rows = {row["key"]: row["value"] for row in entry_time_rows(load_config(file, {}))}
        assert rows == {"trading.session_hours": None, "trading.news_lockout_min": lockout}
