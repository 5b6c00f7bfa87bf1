"""Writing algorithms through tools: every change is a version, comments stay, and what is wrong is said with line and fix."""

import pytest
from desk_stage import Stage

from tradeagent.algos.store import save
from tradeagent.ledger import algos

TEXT = """# mine
name: mine   # of the user
indicators:
  rsi: {kind: rsi, length: 14}   # Wilder's
direction: long
entry:
  long: {required: ["rsi < 30"]}
exit:
  long: {required: ["rsi > 55"], stop_loss: {pct: 3}}
"""


async def test_each_change_is_a_version_and_leaves_the_rest_of_the_text(stage: Stage) -> None:
    made = await stage.call("create_algorithm", name="mine", text=TEXT, note="first")
    assert made["version"] == 1 and made["warnings"] == []
    second = await stage.call("add_indicator", algo="mine", name="slow", kind="ema", params={"length": 200}, interval="4h")
    assert second["version"] == 2 and second["warnings"] == ["indicator 'slow' is used by no condition"]
    assert '  slow: {kind: ema, length: 200, interval: "4h"}\n' in second["text"]
    third = await stage.call("set_entry_exit", algo="mine", part="entry", side="both", required=["rsi < 30", "close > slow"])
    assert 'long: {required: ["rsi < 30", "close > slow"]}' in third["text"] and "short" not in third["text"]
    level = {"kind": "atr", "value": "1.5", "length": 10}
    last = await stage.call("set_stop_take_profit", algo="mine", stop_loss=level, take_profit={"kind": "rr", "value": 2})
    assert "stop_loss: {atr: 1.5, length: 10}, take_profit: {rr: 2}" in last["text"] and last["warnings"] == []
    assert all(comment in last["text"] for comment in ("# mine\n", "# of the user", "# Wilder's"))
    with stage.ledger.reading() as tx:
        rows = algos.versions(tx, "mine")
    assert [row.version for row in rows] == [4, 3, 2, 1] and rows[-1].text == TEXT
    assert (await stage.call("show_algorithm", algo="mine@1"))["text"] == TEXT
    gone = await stage.call("set_stop_take_profit", algo="mine")
    assert "stop_loss" not in gone["text"] and "required" in gone["text"]


async def test_templates_are_copied_with_their_idea(stage: Stage) -> None:
    await stage.call("create_algorithm", name="mine", text=TEXT)
    copy = await stage.call("create_algorithm", name="other", template="mine@1")
    assert copy["text"].startswith("# mine\nname: other ") and "# of the user\n" in copy["text"]
    with stage.ledger.reading() as tx:
        found = algos.newest(tx, "other")
    assert found is not None and found.lineage == "mine", "its tries count for the idea it is from"
    listed = await stage.call("list_algorithms")
    assert [row["name"] for row in listed["algorithms"] if row["kind"] == "saved"] == ["mine", "other"]
    assert {"sma_cross", "rsi_bollinger"} <= {row["name"] for row in listed["algorithms"]}


async def test_problems_come_with_line_and_fix_and_nothing_is_saved(stage: Stage) -> None:
    broken = 'name: bad\nindicators:\n  r: {kind: rsi, lenght: 14}\nentry:\n  long: {required: ["r < "]}\n'
    for tool, more in (("validate_algorithm", {}), ("create_algorithm", {"name": "bad"})):
        found = await stage.call(tool, text=broken, **more)
        assert found["error"]["code"] in ("unknown_key", "invalid_config") and found["error"]["hint"]
    wrong = await stage.call("validate_algorithm", text="name: x\ndirection: sideways\nleverage: 1000\nentry: {long: {required: []}}\n")
    assert len(wrong["problems"]) > 1 and all(problem["line"] and problem["hint"] for problem in wrong["problems"])
    assert (await stage.call("show_algorithm", algo="bad"))["error"]["code"] == "not_found"
    assert (await stage.call("validate_algorithm", algo="sma_cross"))["ok"]


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("add_indicator", {"algo": "sma_cross", "name": "x", "kind": "rsi"}, "built in"),
        ("create_algorithm", {"name": "sma_cross", "text": TEXT}, "built-in"),
        ("create_algorithm", {"name": "mine"}, "either template or text"),
        ("create_algorithm", {"name": "mine", "template": "sma_crss"}, "sma_crss"),
        ("set_entry_exit", {"algo": "sma_cross", "part": "entry"}, "condition"),
        ("show_algorithm", {"algo": "/etc/passwd.yml"}, "pattern"),
        ("show_algorithm", {"algo": "--json"}, "pattern"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(stage: Stage, tool: str, arguments: dict[str, object], says: str) -> None:
    found = (await stage.call(tool, **arguments))["error"]
    assert says in found["message"] and found["hint"]


async def test_a_python_algorithm_keeps_its_code(stage: Stage) -> None:
    save(stage.ledger, "coded", "def signals(bars):\n    return bars['close'] * 0\n", 1, kind="python")
    found = await stage.call("add_indicator", algo="coded", name="x", kind="rsi")
    assert "in its code" in found["error"]["message"]
