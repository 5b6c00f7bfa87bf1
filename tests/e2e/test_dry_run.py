"""A dry run looks at its wallet as the agent's next real run would: from the wallet's instant, with what the run before it left."""

from pathlib import Path
from typing import Any

from minds import Scripted, run_with
from product import BTC, Product

LOOP = ("btc_momentum", "--replay", BTC)
DRY = (*LOOP, "--mode", "dry-run")
BUY = {"market": "BTC", "side": "buy", "quote": "90", "stop": "80000", "target": "99000", "reason": "as scripted"}
HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
TWAP = {"market": "BTC", "side": "buy", "total_amount_quote": 60, "duration_s": 1200, "interval_s": 300, "stop": 60000, "reason": "test"}


def _left_alone(product: Product) -> list[Any]:
    """What a dry run must not change."""
    kept = [product.ask(*words) for words in (("position", "list"), ("order", "list"), ("fills",), ("wallet", "show", "btc_momentum"))]
    return [*kept, product.paper_file("btc_momentum").read_bytes()]


def _line(prompt: str, section: str) -> str:
    return prompt.partition(f"## {section}\n")[2].partition("\n")[0]


def test_it_sees_and_is_judged_by_what_the_run_before_it_left_open(product: Product) -> None:
    assert run_with(Scripted([("propose_order", BUY)]), product, *LOOP, "--max-ticks", "1").document["executed"] == 1
    before = _left_alone(product)
    model = Scripted(
        [
            ("propose_order", BUY | {"quote": "50"}),
            ("modify_protection", {"market": "BTC", "stop": "70000", "reason": "wider"}),
            ("modify_protection", {"market": "BTC", "stop": "80500", "reason": "tighter"}),
            ("get_portfolio", {}),
            ("close_position", {"market": "BTC", "reason": "enough"}),
        ]
    )
    answer = run_with(model, product, *DRY)
    assert answer.code == 0, answer
    shown = _line(model.prompts[0], "Positions")
    assert shown.startswith("market=BTC side=long size=0.00106 entry=84352.9 ") and " stop=80000 target=99000 " in shown
    assert "max_open_positions=1 used=1 left=0" in model.prompts[0]
    again, wider, tighter, portfolio, close = model.results
    assert [again["order"]["kind"], wider["rule"], tighter["rule"], close["rule"]] == ["increase", "PROTECTION", "DRY_RUN", "DRY_RUN"]
    assert [(one["market"], one["mark_usdc"]) for one in portfolio["positions"]] == [("BTC", "84334")]
    assert [one["kind"] for one in answer.document["would_have"]][-1:] == ["close"]
    assert _left_alone(product) == before


def test_executors_of_the_run_before_it_are_its_own(product: Product) -> None:
    product.rewrite("btc_momentum", ("limits: ", "tools: [journal, executors, place_twap]\nlimits: "))
    first = run_with(Scripted([("place_twap", TWAP)], HOLD), product, *LOOP, "--max-ticks", "2").document
    assert first["executed"] >= 1, first
    model = Scripted([("list_executors", {})])
    assert run_with(model, product, *DRY).code == 0
    assert "type=twap" in _line(model.prompts[0], "Executors")
    assert [(one["type"], one["status"]) for one in model.results[0]["executors"]] == [("twap", "active")]


def test_what_others_hold_on_the_wallet_is_not_its_own(product: Product) -> None:
    assert run_with(Scripted(HOLD), product, *LOOP, "--max-ticks", "1").code == 0
    at = product.ask("wallet", "show", "btc_momentum")["as_of"]
    by_hand = ("--wallet", "btc_momentum", "--market", "BTC", "--side", "buy", "--quote", "50", "--replay", BTC, "--at", at)
    product.ask("order", "place", *by_hand)
    model = Scripted([("close_position", {"market": "BTC", "reason": "not mine"})])
    assert run_with(model, product, *DRY).code == 0
    assert _line(model.prompts[0], "Positions") == "none"
    assert model.results[0]["error"]["code"] == "nothing_held"


def test_it_stands_at_the_wallets_instant_and_never_before_it(product: Product) -> None:
    assert run_with(Scripted([("propose_order", BUY)]), product, *LOOP, "--max-ticks", "1").code == 0
    held = product.ask("position", "list")[0]
    model = Scripted(HOLD, HOLD)
    assert run_with(model, product, *DRY).code == 0
    assert f"mark={held['mark_price']} " in _line(model.prompts[0], "Positions")
    assert f" now={held['mark_time'][:16]}Z " in model.prompts[0]
    refused = product.here("run", *DRY, "--from", "2025-03-14T17:55Z", "--json")
    assert (refused.code, refused.error["code"]) == (2, "invalid_input")
    assert "--from: the wallet is at 2025-03-14T18:00:00Z already" in refused.error["message"]
    assert run_with(model, product, *DRY, "--from", "2025-03-20").code == 0
    assert " now=2025-03-20T00:00Z " in model.prompts[1]


def test_a_fresh_wallet_has_no_instant_and_its_dry_run_looks_at_the_newest_bars(product: Product) -> None:
    model = Scripted(HOLD, HOLD)
    assert run_with(model, product, *DRY, "--from", "2025-04-01").code == 0
    assert run_with(model, product, *DRY).code == 0
    last = product.ask("data", "list")[0]["last"]
    assert " now=2025-04-01T00:00Z " in model.prompts[0]
    assert model.prompts[1].split(" now=")[1][:10] == last[:10]
    assert Path(product.root / "trading_agents/btc_momentum/dry_runs/experiment_2.md").is_file()
