"""A wallet that only a person trades is cleared, flattened and reconciled by its own name; `stop` leaves nothing bare unless told to."""

from typing import Any

import pytest
from minds import Scripted, run_with
from product import BTC, Product

from tradeagent.cli.complete import deployments_and_wallets
from tradeagent.ledger import runs
from tradeagent.ledger.store import open_ledger
from tradeagent.workspace.paths import Workspace

pytestmark = pytest.mark.slow
BUY = ("order", "place", "--wallet", "w", "--market", "BTC", "--side", "buy", "--quote", "900", "--replay", BTC, "--at")
RUN = ("btc_momentum", "--replay", BTC, "--max-ticks", "1")
NO_STOPS = ("max_drawdown_pct: 10", "max_drawdown_pct: 10\n  max_market_risk_pct: 100\n  require_stops: false")
ENTER = [("propose_order", {"market": "BTC", "side": "buy", "quote": "40", "reason": "test"})]


def _halt(product: Product) -> Any:
    return product.ask("wallet", "show", "w")["halt"]


def test_a_halt_of_a_wallet_traded_by_hand_is_cleared_by_its_name(product: Product) -> None:
    product.ask("wallet", "new", "w", "--cash", "10000", "--limit", "max_daily_loss_quote=0.01")
    product.ask(*BUY, "2025-03-20T12:00Z")
    refused = product.here(*BUY, "2025-03-20T12:30Z", "--json")
    assert (refused.code, refused.error["code"], _halt(product)) == (3, "HALTED", "daily_loss")
    assert "`tradeagent clear-halt w`" in refused.error["hint"]
    needs_a_word = product.here("clear-halt", "w", "--json")
    assert (needs_a_word.code, needs_a_word.error["hint"]) == (2, "add --yes")
    cleared = product.ask("clear-halt", "w", "--yes")
    assert (cleared["deployment"], cleared["wallet"], cleared["state"]) == (None, "w", "done")
    assert cleared["rebased"] and _halt(product) is None
    assert product.ask("incidents") == []
    assert product.here(*BUY, "2025-03-20T12:35Z", "--json").code == 0


def test_flatten_and_reconcile_take_a_wallet(product: Product) -> None:
    product.ask("wallet", "new", "w", "--cash", "10000")
    product.ask(*BUY, "2025-03-20T12:00Z", "--stop", "60000")
    compared = product.ask("reconcile", "w")
    assert (compared["deployment"], compared["wallet"], compared["phase"], compared["differences"]) == (None, "w", "consistent", [])
    flat = product.ask("flatten", "w", "--yes")
    assert (flat["flat"], len(flat["closed"]), "deployment_state" in flat) == (True, 1, False)
    assert product.ask("position", "list") == [] and product.ask("order", "list") == []


def test_what_needs_a_run_takes_no_wallet_and_unknown_names_are_told(product: Product) -> None:
    product.ask("wallet", "new", "w")
    for words in (("stop", "w"), ("pause", "w"), ("resume", "w"), ("snapshot", "w"), ("directive", "w", "x"), ("flatten", "v", "--yes")):
        answer = product.here(*words, "--json")
        assert (answer.code, answer.error["code"]) == (4, "not_found"), words
    assert deployments_and_wallets("w") == ["w"], "what a shell completes"


def test_a_wallets_name_means_the_run_that_a_crash_left_on_it(product: Product) -> None:
    product.rewrite("btc_momentum", NO_STOPS)
    run_with(Scripted(ENTER), product, *RUN, "--wallet", "w")
    ledger = open_ledger(Workspace(product.root).ledger_file)
    with ledger.transaction() as tx:
        runs.update_deployment(tx, "btc_momentum_1", state="running", ended_ms=None, stopped_because=None)
    ledger.close()
    assert [row["state"] for row in product.ask("status")["deployments"]] == ["interrupted"]
    flat = product.ask("flatten", "w", "--yes")
    assert (flat["deployment"], flat["wallet"], flat["deployment_state"], flat["flat"]) == ("btc_momentum_1", "w", "stopped", True)
    assert product.ask("flatten", "w", "--yes")["deployment"] is None, "a run that has ended is not meant"


def test_stop_names_what_has_no_stop_until_it_is_told_to_keep_it(product: Product) -> None:
    product.rewrite("btc_momentum", NO_STOPS)
    run_with(Scripted(ENTER), product, *RUN)
    [held] = product.ask("position", "list")
    assert held["stop"] is None
    refused = product.here("stop", "btc_momentum", "--json")
    assert (refused.code, refused.error["code"]) == (3, "PROTECTION")
    assert f"BTC {held['size']}" in refused.error["message"]
    assert "--unwind" in refused.error["hint"] and "--keep" in refused.error["hint"]
    assert product.ask("stop", "btc_momentum", "--keep")["state"] == "done"
    assert len(product.ask("position", "list")) == 1
    assert product.ask("stop", "btc_momentum", "--unwind")["flat"] is True


def test_a_wallet_with_nothing_open_is_removed_and_its_history_stays(product: Product) -> None:
    product.ask("wallet", "new", "w", "--cash", "10000")
    product.ask(*BUY, "2025-03-20T12:00Z", "--stop", "60000")
    refused = product.here("wallet", "remove", "w", "--yes", "--json")
    assert (refused.code, refused.error["code"]) == (3, "wallet_in_use")
    assert "position in BTC" in refused.error["message"] and "flatten w" in refused.error["hint"]
    product.ask("flatten", "w", "--yes")
    assert product.here("wallet", "remove", "w", "--json").error["hint"] == "add --yes"
    fills = product.ask("fills", "--wallet", "w")
    assert product.ask("wallet", "remove", "w", "--yes") == {"name": "w", "removed": True}
    assert product.ask("wallet", "list") == [] and product.ask("wallet", "show", "w")["removed_at"] is not None
    assert product.ask("fills", "--wallet", "w") == fills and len(fills) == 2
    assert product.ask("audit", "--kind", "config.changed")[-1]["data"]["key"] == "wallet.w"
    again = (("wallet", "new", "w"), ("wallet", "deposit", "w", "5"), ("run", *RUN, "--wallet", "w"), ("wallet", "remove", "w", "--yes"))
    for words in again:
        answer = product.here(*words, "--json")
        assert (answer.code, answer.error["code"]) == (4, "not_found") and "was removed" in answer.error["message"], words


def test_a_wallets_health_and_hours_are_shown_with_its_figures(product: Product) -> None:
    assert product.ask("config", "set", "trading.session_hours", "mon-fri 06:00-21:00")
    product.ask("agent", "pin", "btc_momentum", "flat before CPI")
    assert run_with(Scripted(()), product, *RUN, "--wallet", "w").code == 0
    shown = product.ask("wallet", "show", "w")
    health = shown["health"]
    assert health["feed_age_s"]["BTC"] is not None and health["feed_age_s"]["BTC"] >= 0
    assert health["reconciliation"]["phase"] == shown["reconciliation"] == "consistent"
    assert health["reconciliation"]["age_s"] >= 0
    assert health["lease"] is None and health["model"] == {"id": "offline/momentum", "trouble": None}
    assert set(health["budget"]) == {"spent_today_usd", "cap_usd"} and health["budget"]["cap_usd"] is not None
    assert shown["market_hours"]["session_hours"] == "mon-fri 06:00-21:00"
    assert shown["market_hours"]["open"] is (shown["market_hours"]["opens_at"] is None)
    assert shown["notes"] == ["- flat before CPI"]


def test_a_feed_is_as_old_as_the_newest_bar_played_also_where_nothing_is_held(product: Product) -> None:
    assert run_with(Scripted(()), product, *RUN, "--wallet", "w").code == 0
    product.ask(*BUY, "2025-03-20T12:00Z", "--stop", "60000")
    assert product.ask("wallet", "show", "w")["health"]["feed_age_s"] == {"BTC": 0}
    product.ask("position", "close", "BTC", "--wallet", "w")
    assert product.here(*BUY, "2025-03-20T12:20Z", "--stop", "99999999", "--json").code == 3
    shown = product.ask("wallet", "show", "w")
    assert (shown["as_of"], shown["positions"], shown["health"]["feed_age_s"]) == ("2025-03-20T12:20:00Z", [], {"BTC": 0})
