"""What a day's profit and a drawdown mean, seen through the product on real bars: flows, midnight, sleep and restarts do not bend them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from product import BTC, Product, copied

D = Decimal
BUY = ("order", "place", "--wallet", "w", "--market", "BTC", "--side", "buy", "--replay", BTC)


def _wallet(product: Product) -> dict[str, Any]:
    return dict(product.ask("wallet", "show", "w"))


def _move_to(product: Product, moment: str) -> dict[str, Any]:
    """Let the market go on: an order too small to pass moves the wallet's clock first."""
    assert product.here(*BUY, "--quote", "1", "--at", moment, "--json").code == 3
    return _wallet(product)


def _close_at(bars: Path, moment: str) -> Decimal:
    """The close of the bar that ends at an instant."""
    query = "SELECT close FROM read_parquet(?) WHERE ts = epoch_ms(?::TIMESTAMP) - 300000"
    [row] = duckdb.connect().execute(query, [str(bars), moment]).fetchall()
    return D(repr(row[0]))


def test_a_deposit_and_a_withdrawal_are_no_profit_and_no_drawdown(product: Product) -> None:
    product.ask("wallet", "new", "w", "--cash", "10000")
    product.ask(*BUY, "--size", "0.05", "--stop", "60000", "--at", "2025-03-14T12:00")
    before = _move_to(product, "2025-03-14T17:00")
    assert D(before["day_pnl"]) != 0
    assert D(before["drawdown_pct"]) > 0
    for command, amount in (("deposit", 5000), ("withdraw", -7000), ("deposit", 1)):
        after = product.ask("wallet", command, "w", str(abs(amount)))
        assert D(after["equity"]) == D(before["equity"]) + amount
        assert D(after["cash"]) == D(before["cash"]) + amount
        for key in ("day_pnl", "drawdown_pct"):
            assert after[key] == before[key], (command, key)
        before = after
    later = _move_to(product, "2025-03-14T19:00")
    assert D(later["equity"]) - D(later["day_start_equity"]) - D(later["day_pnl"]) == D(-1999), "flows are told apart from the result"


def test_a_transfer_moves_money_and_is_no_profit_on_either_side(product: Product) -> None:
    for name, cash in (("w", "10000"), ("other", "50")):
        product.ask("wallet", "new", name, "--cash", cash)
    moved = product.ask("wallet", "transfer", "w", "other", "1234.5")
    assert (moved["from"]["cash"], moved["to"]["cash"]) == ("8765.5", "1284.5")
    for name in ("w", "other"):
        view = product.ask("wallet", "show", name)
        assert (D(view["day_pnl"]), D(view["drawdown_pct"])) == (0, 0)
    refused = product.here("wallet", "transfer", "w", "other", "8765.51", "--json")
    assert (refused.code, refused.error["code"]) == (3, "MARGIN")


def test_flows_between_runs_are_in_the_report_and_it_still_adds_up(product: Product) -> None:
    run = ("run", "btc_momentum", "--wallet", "w", "--replay", BTC, "--max-ticks", "40")
    first = product.ask(*run, "--cash", "10000")
    product.ask("wallet", "deposit", "w", "2500.5")
    second = product.ask(*run)
    assert D(second["equity_start"]) == D(first["equity_end"]) + D("2500.5")
    change = D(second["realised_pnl"]) + D(second["unrealised_pnl"]) - D(first["unrealised_pnl"]) - D(second["fees"]) - D(second["funding"])
    assert D(second["equity_end"]) == D(second["equity_start"]) + change
    assert D(_wallet(product)["day_pnl"]) < 100, "the deposit is no profit"


def test_a_day_begins_with_the_equity_at_midnight(product: Product, shared_data: Path) -> None:
    product.ask("wallet", "new", "w", "--cash", "10000")
    product.ask(*BUY, "--size", "0.05", "--stop", "60000", "--at", "2025-03-14T22:00")
    wallet = _move_to(product, "2025-03-15T09:00")
    bars = shared_data / "hyperliquid_BTC_5m.parquet"
    midnight, now = _close_at(bars, "2025-03-15 00:00:00"), _close_at(bars, "2025-03-15 09:00:00")
    paid = {True: D(0), False: D(0)}
    for event in product.ask("audit", "--kind", "funding", "--limit", "100"):
        paid[event["time"] <= "2025-03-15T00:00:00Z"] += D(event["data"]["payment"])
    assert wallet["as_of"] == "2025-03-15T09:00:00Z"
    assert D(wallet["day_pnl"]) == D("0.05") * (now - midnight) - paid[False] - (_at_midnight(product) if paid[False] else 0)


def _at_midnight(product: Product) -> Decimal:
    """The payment stamped 00:00 itself belongs to the bar that opens then, so to the new day."""
    events = product.ask("audit", "--kind", "funding", "--limit", "100")
    return sum((D(event["data"]["payment"]) for event in events if event["time"] == "2025-03-15T00:00:00Z"), D(0))


@pytest.fixture
def asleep(template: Path, shared_data: Path, tmp_path: Path) -> Product:
    """A workspace whose bars of BTC are missing from 23:00 to 03:00, as when the computer slept."""
    product = copied(template, tmp_path / "ws")
    for file in (product.root / "data" / "bars" / "hyperliquid" / "BTC" / "5m").glob("*.parquet"):
        file.unlink()
    gapped = tmp_path / "gapped.parquet"
    duckdb.connect().execute(
        f"COPY (SELECT * FROM read_parquet('{shared_data / 'hyperliquid_BTC_5m.parquet'}') WHERE ts < epoch_ms(TIMESTAMP '2025-03-16') "
        f"AND (ts < epoch_ms(TIMESTAMP '2025-03-14 23:00') OR ts >= epoch_ms(TIMESTAMP '2025-03-15 03:00'))) TO '{gapped}' (FORMAT parquet)"
    )
    product.ask("data", "import", str(gapped), "--market", "BTC", "--interval", "5m")
    return product


def test_a_loss_while_the_runner_slept_over_midnight_is_a_loss_of_the_new_day(asleep: Product, shared_data: Path) -> None:
    asleep.ask("wallet", "new", "w", "--cash", "10000")
    asleep.ask(*BUY, "--size", "0.05", "--stop", "60000", "--at", "2025-03-14T22:00")
    before = _move_to(asleep, "2025-03-14T23:00")
    after = _move_to(asleep, "2025-03-15T03:10")
    bars = shared_data / "hyperliquid_BTC_5m.parquet"
    slept = D("0.05") * (_close_at(bars, "2025-03-15 03:10:00") - _close_at(bars, "2025-03-14 23:00:00"))
    paid = sum((D(event["data"]["payment"]) for event in asleep.ask("audit", "--kind", "funding")), D(0))
    assert slept != 0
    assert D(after["day_start_equity"]) == D(before["equity"])
    assert D(after["equity"]) - D(before["equity"]) == D(after["day_pnl"])
    assert abs(D(after["day_pnl"]) - slept) <= abs(paid)


def test_a_restart_keeps_the_day_and_the_peak(product: Product) -> None:
    run = ("run", "btc_momentum", "--wallet", "w", "--replay", BTC, "--max-ticks")
    product.ask(*run, "100", "--cash", "10000")
    before = _wallet(product)
    assert D(before["drawdown_pct"]) > 0
    product.ask(*run, "1")
    after = _wallet(product)
    keys = ("as_of", "equity", "cash", "day_start_equity", "day_pnl", "peak_equity", "drawdown_pct", "penalty")
    assert {key: after[key] for key in keys} == {key: before[key] for key in keys}
    [row] = product.ask("status")["deployments"]
    assert (row["day_pnl"], row["equity"]) == (after["day_pnl"], after["equity"])
