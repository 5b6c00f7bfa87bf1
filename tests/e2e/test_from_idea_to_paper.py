"""From an idea to paper without a key: what a newcomer types, sentence after sentence, with the rule-based assistant."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from product import Answer, Product, copied, rows_of

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
SHOW = "show_algorithm"


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Iterator[Product]:
    """A workspace in which nothing runs any more when the test ends."""
    product = copied(template, tmp_path / "ws")
    yield product
    for row in rows_of(product):
        if row["state"] == "running":
            product.here("stop", row["id"])


def said(product: Product, words: str, *calls: str) -> dict[str, Any]:
    """One sentence of the conversation, and exactly the calls that it leads to, all done."""
    answer = product.run("chat", "--session", "last", words, "--json", timeout=300)
    assert answer.code == 0, answer
    told = dict(answer.document)
    made = [(call["name"], call["status"]) for call in told["tool_calls"] if call["name"] != "find_tools"]
    assert made == [(call, "ok") for call in calls], told["text"]
    assert told["rule_based"] and told["usage"]["cost_usd"] == "0"
    return told


def refused(answer: Answer, code: int) -> dict[str, Any]:
    assert answer.code == code, answer
    return answer.error


def test_a_newcomer_without_a_key_comes_from_a_sentence_to_an_algorithm_on_paper(place: Product) -> None:
    idea = "create an algo called dip that buys when rsi below 30 and sells when rsi above 60 on BTC 1h, with a 2 % stop"
    begun = said(place, idea, SHOW, "create_algorithm")
    assert "market=BTC, interval=1h, oversold=30, overbought=60" in begun["text"]
    assert "I did **not** take: “a 2 % stop”" in begun["text"]
    saved = place.ask("algo", "show", "dip")
    lines = {row["param"]: row["value"] for row in saved["params"]}
    assert (saved["market"], saved["interval"], lines["oversold"], lines["overbought"]) == ("BTC", "1h", "30", "60"), saved
    tested = said(place, "backtest it", SHOW, "run_backtest")
    assert tested["session"] == begun["session"], "`last` began a conversation, and goes on with it"
    assert "dip@1 on BTC 1h" in tested["text"] and "What speaks against it:" in tested["text"]
    searched = said(place, "optimise it, 6 trials", SHOW, "optimize")
    assert "best of 6 tries" in searched["text"], searched["text"]
    held = said(place, "does it hold? 3 folds, 3 trials", SHOW, "rolling_cv_backtest")
    assert "rolling validation: **" in held["text"], held["text"]
    place.ask("wallet", "new", "dipper", "--group", "algo", "--cash", "10000")
    card_of = said(place, "deploy it to a wallet called dipper", "get_algo_wallets_overview", SHOW, "deploy_algo_to_wallet")
    [card] = card_of["cards"]
    assert card in card_of["text"] and rows_of(place) == []
    assert "Only you can confirm a card" in said(place, "yes, I confirm")["text"]
    [waits] = place.ask("confirm", "--list")
    assert (waits["card"], waits["state"]) == (card, "waiting")
    gates = refused(place.run("confirm", card, "--yes", "--json"), 3)
    assert gates["code"] == "gate_failed" and "--override" in gates["hint"]
    done = place.ask("confirm", card, "--yes", "--override")
    assert (done["state"], done["result"]["wallet"]) == ("committed", "dipper")
    [run] = rows_of(place)
    assert (run["id"], run["kind"], run["state"], run["wallet"]) == ("dip_a1", "algo", "running", "dipper")
    assert "dip_a1 (algo dip@1) on dipper, BTC: **running**" in said(place, "status", "show_deployments", "get_account_overview")["text"]
    assert refused(place.run("confirm", card, "--yes", "--override", "--json"), 3)["code"] == "gate_failed"
    assert place.ask("stop", "dip_a1")["state"] == "done"
    assert [row["state"] for row in rows_of(place)] == ["stopped"]
