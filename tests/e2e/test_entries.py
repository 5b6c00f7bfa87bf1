"""When agents may enter: the examples trade under their own limits, and a barred agent manages what is open and no more."""

import pytest
from minds import Scripted, run_with
from product import BTC, Product

LOOP = ("btc_momentum", "--replay", BTC)
HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
# Against the rise of the first fifteen minutes of the replay, so that it loses from its first mark on.
ENTER = [("propose_order", {"market": "BTC", "side": "sell", "quote": "95", "stop": "88000", "target": "76000", "reason": "test"})]
CLOSE = [("close_position", {"market": "BTC", "reason": "test"})]


@pytest.mark.parametrize(
    ("slug", "market", "ticks"), [("btc_momentum", "BTC", 60), ("eth_mean_reversion", "ETH", 120), ("hype_breakout_rules", "HYPE", 120)]
)
def test_an_example_agent_trades_a_fresh_wallet_under_its_own_limits(product: Product, slug: str, market: str, ticks: int) -> None:
    report = product.ask("run", slug, "--replay", f"hyperliquid:{market}:5m", "--max-ticks", str(ticks))
    print(slug, {key: report[key] for key in ("proposals", "executed", "rejected", "round_trips", "blocked_ticks")})
    assert report["equity_start"] == "10000"
    assert report["executed"] >= 1
    assert {fill["market"] for fill in product.ask("fills")} == {market}
    assert sum(report["rejected"].values()) <= report["executed"]
    assert report["blocked_ticks"] == 0


def test_a_lockout_takes_the_entry_tools_while_a_position_is_open_and_the_model_when_it_is_flat(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_drawdown_pct: 10", "max_drawdown_pct: 0.0001\n  halt_drawdown_pct: 50"))
    model = Scripted(ENTER, HOLD, HOLD, CLOSE)
    report = run_with(model, product, *LOOP, "--max-ticks", "8").document
    assert "propose_order" in model.offered[0]
    locked = model.offered[1:]
    assert len(locked) == 3, "the model is asked while something is open, and not once it is flat"
    for offered in locked:
        assert "propose_order" not in offered
        assert {"close_position", "modify_protection", "journal_action"} <= offered
    assert "Entries are barred (LOCKOUT" in model.prompts[1]
    assert report["executed"] == 2
    assert report["blocked_ticks"] == 4
    assert report["blocked"]["rule"] == "LOCKOUT"
    journal = product.ask("journal", "btc_momentum")["text"]
    assert journal.count("LOCKOUT: entries are locked after a drawdown") == 4
    assert journal.count("**tick_blocked**") == 4
    assert [incident["code"] for incident in product.ask("incidents")] == ["lockout"]
    assert product.ask("wallet", "show", "btc_momentum")["lockout"] is True


def test_a_lockout_outlives_its_run_until_a_person_clears_it(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_drawdown_pct: 10", "max_drawdown_pct: 0.0001\n  halt_drawdown_pct: 50"))
    run_with(Scripted(ENTER, CLOSE), product, *LOOP, "--max-ticks", "3")
    blocked = run_with(Scripted(ENTER), product, *LOOP, "--max-ticks", "2").document
    assert (blocked["blocked_ticks"], blocked["blocked"]["rule"]) == (2, "LOCKOUT")
    cleared = product.ask("clear-halt", "btc_momentum", "--yes")
    assert any("peak nav" in line for line in cleared["rebased"])
    again = run_with(Scripted(ENTER), product, *LOOP, "--max-ticks", "1").document
    assert again["executed"] == 1


def test_a_daily_loss_halts_and_flattens_without_asking_a_model(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_daily_loss_quote: 50", "max_daily_loss_quote: 0.01"))
    model = Scripted(ENTER, HOLD, HOLD)
    report = run_with(model, product, *LOOP, "--max-ticks", "6").document
    assert len(model.prompts) < 6
    assert (report["blocked"]["rule"], report["open_positions"]) == ("HALTED", 0)
    assert [fill["exit_reason"] for fill in product.ask("fills")] == [None, "halt"]
    wallet = product.ask("wallet", "show", "btc_momentum")
    assert (wallet["halt"], wallet["positions"], wallet["open_orders"]) == ("daily_loss", [], [])
    [row] = product.ask("status")["deployments"]
    assert (row["state"], row["halt"]) == ("halted", "daily_loss")
    assert [incident["code"] for incident in product.ask("incidents")] == ["halt_daily_loss"]


def test_a_halt_survives_the_run_and_a_new_one(product: Product) -> None:
    product.rewrite("btc_momentum", ("max_daily_loss_quote: 50", "max_daily_loss_quote: 0.01"))
    run_with(Scripted(ENTER, HOLD), product, *LOOP, "--max-ticks", "4")
    before = {row["id"]: row["state"] for row in product.ask("status")["deployments"]}
    again = run_with(Scripted(ENTER), product, *LOOP, "--max-ticks", "1").document
    assert (again["executed"], again["blocked"]["rule"]) == (0, "HALTED")
    assert before == {"btc_momentum_1": "halted"}
    assert {incident["code"] for incident in product.ask("incidents", "--all")} == {"halt_daily_loss"}
    refused = product.here("order", "place", "--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "50", "--json")
    assert (refused.code, refused.error["code"]) == (3, "HALTED")
