"""`order play`: a script over a replay does what the same orders do one by one, and says which line is wrong."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli.entry import run
from tradeagent.cli.play import read_script
from tradeagent.domain.clock import iso
from tradeagent.domain.errors import DataError
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR, BEGIN = 3_600_000, 1_750_000_000_000 // 3_600_000 * 3_600_000
REPLAY = "synthetic:BTC:1h"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with 200 synthetic hours and two paper wallets."""
    folder = tmp_path / "ws"
    init_workspace(folder)
    store_synthetic(Warehouse(Workspace(folder).warehouse_dir), synthetic_market(0, 200, "BTC", HOUR, BEGIN))
    for name in ("one", "two"):
        assert run(["wallet", "new", name, "-w", str(folder), "--quiet"]) == 0
    return folder


def hour(number: float) -> str:
    return str(iso(BEGIN + int(number * HOUR)))


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def written(folder: Path, *lines: dict[str, Any]) -> str:
    file = folder / "script.jsonl"
    file.write_text("\n\n".join(json.dumps(line) for line in lines) + "\n")
    return str(file)


def mark() -> float:
    """The market's price at hour 100."""
    return float(synthetic_market(0, 200, "BTC", HOUR, BEGIN).bars.close[99])


def test_a_script_does_what_its_orders_do_one_by_one(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    price = mark()
    far, stop = str(round(price * 0.97, -2)), str(round(price * 0.9, -2))
    script = written(
        workspace,
        {"at": hour(100), "op": "place", "ref": "in", "market": "BTC", "side": "buy", "size": "0.01", "stop": stop},
        {"at": hour(101), "op": "place", "ref": "low", "market": "BTC", "side": "buy", "type": "limit", "size": 0.01, "price": far},
        {"at": hour(103), "op": "cancel", "ref": "low"},
        {"at": hour(120), "op": "place", "market": "BTC", "side": "sell", "size": "0.01", "reduce_only": True},
    )
    played = ask(capsys, workspace, "order", "play", script, "--wallet", "one", "--replay", REPLAY)
    assert [(row["ref"], row["op"], row["verdict"]) for row in played["verdicts"]] == [
        ("in", "place", "executed"),
        ("low", "place", "executed"),
        ("low", "cancel", "executed"),
        (None, "place", "executed"),
    ]
    assert played["verdicts"][1]["order_id"] == played["verdicts"][2]["order_id"]

    place = ("order", "place", "--wallet", "two", "--market", "BTC", "--replay", REPLAY)
    ask(capsys, workspace, *place, "--side", "buy", "--size", "0.01", "--stop", stop, "--at", hour(100))
    low = ask(capsys, workspace, *place, "--side", "buy", "--size", "0.01", "--type", "limit", "--price", far, "--at", hour(101))
    # `order cancel` has no --at: an order that is refused moves the clock to the instant of the cancel
    ask(capsys, workspace, *place, "--side", "buy", "--size", "100", "--at", hour(103), code=3)
    ask(capsys, workspace, "order", "cancel", low["order"]["cloid"])
    ask(capsys, workspace, *place, "--side", "sell", "--size", "0.01", "--reduce-only", "--at", hour(120))

    fills = {name: ask(capsys, workspace, "fills", "--wallet", name) for name in ("one", "two")}
    shown = {
        name: [(f["time"], f["side"], f["size"], f["price"], f["fee"], f["realised_pnl"]) for f in rows] for name, rows in fills.items()
    }
    assert len(shown["one"]) == 2
    assert shown["one"] == shown["two"]
    two = ask(capsys, workspace, "wallet", "show", "two")
    assert {key: played["wallet"][key] for key in ("cash", "equity", "positions", "open_orders")} == {
        key: two[key] for key in ("cash", "equity", "positions", "open_orders")
    }


def test_a_refusal_is_a_verdict_and_the_script_goes_on(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = written(
        workspace,
        {"at": hour(100), "op": "place", "ref": "big", "market": "BTC", "side": "buy", "size": "100"},
        {"at": hour(100), "op": "cancel", "ref": "big"},
        {"at": hour(101), "op": "place", "ref": "small", "market": "BTC", "side": "buy", "size": "0.01"},
    )
    played = ask(capsys, workspace, "order", "play", script, "--wallet", "one", "--replay", REPLAY)
    assert [(row["verdict"], row["rule"] is None, row["order_id"] is None) for row in played["verdicts"]] == [
        ("rejected", False, True),
        ("noop", True, True),
        ("executed", True, False),
    ]
    assert [row["size"] for row in played["wallet"]["positions"]] == ["0.01"]


def test_to_plays_on_after_the_last_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit order that rests at the last line is filled on the way to --to."""
    price = mark()
    buy = {"op": "place", "market": "BTC", "side": "buy", "type": "limit", "size": "0.01", "price": str(round(price * 0.995, -2))}
    script = written(workspace, {"at": hour(100), **buy})
    stayed = ask(capsys, workspace, "order", "play", script, "--wallet", "one", "--replay", REPLAY)
    assert (stayed["wallet"]["positions"], len(stayed["wallet"]["open_orders"])) == ([], 1)
    went = ask(capsys, workspace, "order", "play", script, "--wallet", "two", "--replay", REPLAY, "--to", hour(199.5))
    assert [row["size"] for row in went["wallet"]["positions"]] == ["0.01"]
    bars = synthetic_market(0, 200, "BTC", HOUR, BEGIN).bars
    shown = ask(capsys, workspace, "position", "list", "--wallet", "two")
    assert Decimal(shown[0]["mark_price"]) == Decimal(str(bars.close[198]))
    late = ("order", "place", "--wallet", "two", "--market", "BTC", "--side", "buy", "--size", "0.01", "--replay", REPLAY)
    assert f"at {hour(199.5)} already" in ask(capsys, workspace, *late, "--at", hour(199), code=2)["error"]["message"]
    error = ask(capsys, workspace, "order", "play", script, "--wallet", "one", "--replay", REPLAY, "--to", hour(99), code=2)["error"]
    assert "before the last line" in error["message"]


def test_an_instant_after_the_last_bar_is_reached_over_all_of_them_and_the_clock_waits_there(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    price = mark()
    buy = {"op": "place", "market": "BTC", "side": "buy", "type": "limit", "size": "0.01", "price": str(round(price * 0.995, -2))}
    script = written(workspace, {"at": hour(100), **buy})
    play = ("order", "play", script, "--replay", REPLAY, "--wallet")
    ended = ask(capsys, workspace, *play, "one", "--to", hour(200))["wallet"]
    ask(capsys, workspace, "wallet", "new", "three")
    for name, to in (("two", hour(300)), ("three", "2040-01-01")):
        went = ask(capsys, workspace, *play, name, "--to", to)["wallet"]
        assert {key: went[key] for key in ("as_of", "equity", "cash")} == {key: ended[key] for key in ("as_of", "equity", "cash")}
    assert (ended["as_of"], [row["size"] for row in ended["positions"]]) == (hour(200), ["0.01"])

    place = ("order", "place", "--market", "BTC", "--size", "0.01", "--replay", REPLAY, "--wallet")
    error = ask(capsys, workspace, *place, "one", "--side", "buy", "--at", "2040-01-01", code=3)["error"]
    assert error["code"] == "FRESHNESS" and f"closed at {hour(200)}" in error["message"]
    sold = ask(capsys, workspace, *place, "one", "--side", "sell", "--reduce-only", "--at", "2040-01-01")
    assert (sold["verdict"], len(sold["fills"])) == ("executed", 1)
    assert ask(capsys, workspace, "wallet", "show", "one")["as_of"] == hour(200)
    ask(capsys, workspace, *place, "one", "--side", "buy", "--at", hour(203))
    assert ask(capsys, workspace, "wallet", "show", "one")["as_of"] == hour(203)


def test_reduce_only_ends_at_flat(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    low = str(round(mark() * 0.9 / 100) * 100)
    opened = {"at": hour(100), "op": "place", "market": "BTC", "side": "buy", "size": "0.01", "stop": low}
    played = ask(capsys, workspace, "order", "play", written(workspace, opened), "--wallet", "one", "--replay", REPLAY)
    assert [(row["size"], row["stop"]) for row in played["wallet"]["positions"]] == [("0.01", low)]
    more = {"at": hour(101), "op": "place", "market": "BTC", "side": "sell", "size": "0.02", "reduce_only": True}
    played = ask(capsys, workspace, "order", "play", written(workspace, more), "--wallet", "one", "--replay", REPLAY)
    assert (played["wallet"]["positions"], played["wallet"]["open_orders"]) == ([], [])


def test_bars_that_are_not_there_are_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = written(workspace, {"at": hour(100), "op": "place", "market": "BTC", "side": "buy", "size": "0.01"})
    error = ask(capsys, workspace, "order", "play", script, "--wallet", "one", "--replay", "synthetic:BTC:1m", code=2)["error"]
    assert error["code"] == "data_error"
    assert "synthetic:BTC:1m" in error["message"]


def test_a_wallet_that_is_further_is_not_moved_back(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    buy = {"op": "place", "market": "BTC", "side": "buy", "size": "0.01"}
    ask(capsys, workspace, "order", "play", written(workspace, {"at": hour(100), **buy}), "--wallet", "one", "--replay", REPLAY)
    script = written(workspace, {"at": hour(99), **buy})
    error = ask(capsys, workspace, "order", "play", script, "--wallet", "one", "--replay", REPLAY, code=2)["error"]
    assert "only moves forward" in error["message"]


GOOD = {"at": "2025-03-15T12:00Z", "op": "place", "ref": "a", "market": "BTC", "side": "buy", "size": "1"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at": "soon"}, "at: 'soon' is not a time"),
        ({"ref": "b", "at": "2025-03-15T11:59Z"}, "at: it is before the line above"),
        ({"op": "move"}, "op: 'move' is not place or cancel"),
        ({"op": "cancel", "ref": "b"}, "ref: 'b' is not placed above"),
        ({"ref": "a"}, "ref: 'a' is placed twice"),
        ({"ref": "b", "side": "long"}, "side: 'long' is not one of buy, sell"),
        ({"ref": "b", "market": None}, "market: it is missing"),
        ({"ref": "b", "size": "much"}, "size: 'much' is not a number"),
        ({"ref": "b", "size": True}, "size: True is not a number"),
        ({"ref": "b", "reduce_only": "yes"}, "reduce_only: 'yes' is not true or false"),
        ({"ref": "b", "sized": 1}, "sized: there is no such key"),
    ],
)
def test_a_wrong_line_is_told_by_number_and_key(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = written(tmp_path, GOOD, {**GOOD, **change})
    with pytest.raises(DataError) as caught:
        read_script(Path(file))
    assert caught.value.message == f"{file}:3: {said}"
    assert caught.value.details["line"] == 3


@pytest.mark.parametrize(
    ("text", "said"), [("", "there is no order in it"), ("[]", ":1: this is not an object"), ("{", ":1: this is not JSON")]
)
def test_a_file_without_orders_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "script.jsonl").write_text(text)
    with pytest.raises(DataError, match=said):
        read_script(tmp_path / "script.jsonl")
