"""Executors in the product's own runs: started by a tool call, shown in the next prompt and the journal, going on in the next run."""

import re

from minds import Scripted, run_with
from product import BTC, Product

LOOP = ("btc_momentum", "--replay", BTC)
HOLD = [("journal_action", {"action": "hold", "reasoning": "nothing to do"})]
POSITION = {
    "type": "position",
    "fields": {
        "market": "BTC",
        "side": "buy",
        "amount_quote": 60,
        "barriers": {"stop_loss": 0.005, "take_profit": 0.2, "time_limit_s": 900},
    },
    "reason": "test",
}
TWAP = {"market": "BTC", "side": "buy", "total_amount_quote": 60, "duration_s": 1200, "interval_s": 300, "stop": 60000, "reason": "test"}
LINE = re.compile(
    r"- executor=(\w+) \| type=(\w+) \| BTC long \| amount=\$60\.00 \| created=[0-9 :-]{16} \| status=(\w+) \| pnl=\S+ \| volume=\S+"
)


def test_a_position_executor_lives_from_a_tool_call_to_its_journal_line(product: Product) -> None:
    product.rewrite("btc_momentum", ("limits: ", "tools: [journal, executors]\nlimits: "))
    model = Scripted(
        [("list_executor_types", {}), ("create_executor", POSITION)],
        [("list_executors", {})],
        HOLD,
        HOLD,
        HOLD,
        [("list_executors", {"ended": True})],
    )
    report = run_with(model, product, *LOOP, "--max-ticks", "6").document
    assert report["executed"] == 1 and report["rejected"] == {}
    created = next(result for result in model.results if "verdict" in result)
    assert created["verdict"] == "executed" and created["executor"]["status"] == "active"
    made = created["executor"]["executor_id"]
    assert f"executor={made}" in model.prompts[1].replace('"', "") and "type=position" in model.prompts[1]
    last = model.results[-1]["executors"]
    assert [(one["executor_id"], one["status"]) for one in last] == [(made, "terminated")]
    [line] = LINE.findall(product.ask("journal", "btc_momentum")["text"])
    assert line == (made, "position", last[0]["close_type"])
    fills = product.ask("fills")
    assert len(fills) == 2 and product.ask("wallet", "show", "btc_momentum")["open_orders"] == []


def test_an_executor_goes_on_in_the_next_run_of_its_agent(product: Product) -> None:
    product.rewrite("btc_momentum", ("limits: ", "tools: [journal, executors, place_twap]\nlimits: "))
    first = run_with(Scripted([("place_twap", TWAP)], HOLD), product, *LOOP, "--max-ticks", "2").document
    assert first["executed"] == 1
    model = Scripted([("list_executors", {})], HOLD, HOLD, [("list_executors", {"ended": True})])
    second = run_with(model, product, *LOOP, "--max-ticks", "4").document
    assert second["agent_id"] != first["agent_id"]
    seen, ended = (result["executors"] for result in model.results if "executors" in result)
    assert [one["status"] for one in seen] == ["active"] and seen[0]["controller_id"] == second["agent_id"]
    assert [(one["status"], one["close_type"]) for one in ended] == [("terminated", "completed")]
    fills = product.ask("fills")
    assert len(fills) == 4 and len({fill["deployment"] for fill in fills}) == 2
    assert "executors" in product.ask("journal", "btc_momentum")["text"]


def test_a_foreign_controller_is_refused(product: Product) -> None:
    product.rewrite("btc_momentum", ("limits: ", "tools: [journal, executors]\nlimits: "))
    model = Scripted([("create_executor", {**POSITION, "controller_id": "other_1"})])
    report = run_with(model, product, *LOOP, "--max-ticks", "1").document
    assert report["rejected"] == {"SCOPE": 1} and product.ask("fills") == []
