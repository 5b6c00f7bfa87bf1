"""`algo`: what its commands answer to scripts and to people, and their exit codes."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli.complete import algos
from tradeagent.cli.entry import run
from tradeagent.cli.session import Globals, set_globals
from tradeagent.market.synthetic import store_synthetic, synthetic_market
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

HOUR, BEGIN = 3_600_000, 1_750_000_000_000 // 3_600_000 * 3_600_000
BARS = ("-m", "BTC", "-i", "1h", "--venue", "synthetic")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with 400 synthetic hours."""
    made = tmp_path / "ws"
    init_workspace(made)
    store_synthetic(Warehouse(Workspace(made).warehouse_dir), synthetic_market(0, 400, "BTC", HOUR, BEGIN))
    return made


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def said(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert run([*arguments, "-w", str(folder)]) == 0
    return capsys.readouterr().out


def test_new_saves_versions_that_show_and_list_know(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "none saved yet" in said(capsys, folder, "algo", "list")
    made = ask(capsys, folder, "algo", "new", "mine", "--template", "dual_rsi")
    assert (made["name"], made["version"], made["lineage"]) == ("mine", 1, "mine")
    text = said(capsys, folder, "algo", "show", "mine", "--text")
    file = tmp_path / "mine.yml"
    file.write_text(text.replace("length: 5", "length: 7"))
    assert ask(capsys, folder, "algo", "new", "mine", "--from", str(file), "--note", "slower")["version"] == 2
    versions = ask(capsys, folder, "algo", "versions", "mine")
    assert [(row["version"], row["note"]) for row in versions] == [(2, "slower"), (1, "from dual_rsi")]
    shown = ask(capsys, folder, "algo", "show", "mine@1")
    assert shown["text"] == text and {"param": "fast.length", "value": "5", "range": "3 to 10"} in shown["params"]
    listed = ask(capsys, folder, "algo", "list")
    assert [(row["name"], row["kind"], row["version"]) for row in listed][:2] == [("mine", "saved", 2), ("sma_cross", "built_in", None)]
    assert "none saved yet" not in said(capsys, folder, "algo", "list")
    assert "fast.length" in said(capsys, folder, "algo", "show", "mine")


def test_validate_names_line_and_fix_and_exits_2(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fine = ask(capsys, folder, "algo", "validate", "sma_cross")
    assert fine["ok"] and fine["warmup_bars"] == 49 and fine["warnings"] == []
    file = tmp_path / "a.yml"
    file.write_text('name: a\ndirection: long\nentry: {long: {required: ["rsj > 3"]}}\nindicators: {rsi: {kind: rsi}}\n')
    error = ask(capsys, folder, "algo", "validate", str(file), code=2)["error"]
    assert error["code"] == "invalid_config" and "a.yml:3" in error["message"] and "^" in error["message"]
    assert error["hint"] == "did you mean 'rsi'?"
    file.write_text(file.read_text().replace("rsj > 3", "close > 3"))
    assert ask(capsys, folder, "algo", "validate", str(file))["warnings"] == [
        "indicator 'rsi' is used by no condition",
        "exit.long is empty: a long position is never closed",
    ]


def test_explore_counts_and_writes_values(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values = tmp_path / "values.parquet"
    told = ask(capsys, folder, "algo", "explore", "rsi_bollinger", *BARS, "--param", "rsi.length=7", "--values", str(values))
    assert told["bars"] == 400 and told["warmup"] == 19 and told["lookahead"]["ok"] and told["interval"] == "1h"
    assert [rule["requirements"] for rule in told["rules"]] == [2, 1, 2, 1] and told["rules"][0]["near_misses"] > 0
    assert told["values"]["columns"][6:] == ["rsi", "bb.upper", "bb.middle", "bb.lower"] and values.exists()
    text = said(capsys, folder, "algo", "explore", "rsi_bollinger", *BARS, "--from", "2025-06-20")
    assert "alone missing" in text and "near misses" in text


def test_probe_tells_the_signal_and_what_the_limits_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(capsys, folder, "algo", "probe", "sma_cross", *BARS)
    assert told["signal"] in ("long", "short") and told["fires"] and 0.5 <= told["confidence"] <= 0.85
    entry, stop, target = (float(told["levels"][name]) for name in ("entry", "stop", "target"))
    assert (entry - stop) * (1 if told["signal"] == "long" else -1) == pytest.approx(float(told["context"]["atr"]), rel=1e-6)
    assert abs(target - entry) == pytest.approx(2 * abs(entry - stop), rel=1e-6)
    assert float(told["order"]["notional"]) <= 500 and told["order"]["limits"] == []
    engine = ask(capsys, folder, "algo", "probe", "sma_cross", *BARS, "--limits", "engine")
    assert {"rule": "POSITION_CAP", "says": "cut"} in engine["order"]["limits"]
    none = ask(capsys, folder, "algo", "probe", "rsi_reversal", *BARS, "-p", "oversold=1", "-p", "overbought=99")
    assert none["signal"] == "none" and none["order"] is None and len(none["reasons"]) == 2
    assert "fast > slow" in said(capsys, folder, "algo", "probe", "sma_cross", *BARS) or told["signal"] == "short"


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("show", "sma_cros"), 4, "sma_cross"),
        (("versions", "nothing"), 4, "algo list"),
        (("new", "mine", "--template", "breakout", "--from", "a.yml"), 2, "--template"),
        (("new", "sma_cross", "--template", "breakout"), 2, "my_sma_cross"),
        (("new", "mine", "--template", "breakot"), 4, "breakout"),
        (("new", "mine", "--from", "none.yml"), 4, "algo list"),
        (("explore", "sma_cross", "-i", "1h"), 2, "--market"),
        (("explore", "sma_cross", "-m", "BTC"), 2, "--interval"),
        (("explore", "sma_cross", *BARS, "-p", "fsat=3"), 2, "fast"),
        (("explore", "sma_cross", *BARS, "-p", "slow=900"), 2, "more bars"),
        (("explore", "sma_cross", *BARS, "--from", "2031-01-01"), 2, "data"),
        (("explore", "sma_cross", *BARS, "--values", "out.csv"), 2, ".parquet"),
        (("probe", "sma_cross", *BARS, "--limits", "bot"), 2, "algo"),
        (("probe", "sma_cross", "-m", "ETH", "-i", "1h"), 2, "data"),
        (("probe", "sma_cross", "-m", "BTC", "-i", "7m"), 2, "1m, 3m, 5m"),
        (("explore", "sma_cross", "-m", "BTC", "-i", "7m"), 2, "1m, 3m, 5m"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_has_its_exit_code_and_fix(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, hint: str
) -> None:
    error = ask(capsys, folder, "algo", *arguments, code=code)["error"]
    assert hint in error["hint"], error


def test_new_alone_begins_with_a_moving_average_cross(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ask(capsys, folder, "algo", "new", "mine")
    assert made["version"] == 1 and "average" in made["description"]
    assert "\nname: mine\n" in ask(capsys, folder, "algo", "show", "mine")["text"]


def test_names_complete_from_the_workspace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, folder, "algo", "new", "mine", "--template", "breakout")
    set_globals(Globals(workspace=str(folder)))
    assert algos("m") == ["mine"] and "sma_cross" in algos("s") and algos("zzz") == []


def test_what_is_no_file_is_refused_at_once(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pipe, inside = tmp_path / "pipe.yml", tmp_path / "folder.yml"
    os.mkfifo(pipe)
    inside.mkdir()
    (tmp_path / "device.yml").symlink_to("/dev/zero")
    for path in (pipe, inside, tmp_path / "device.yml"):
        error = ask(capsys, folder, "algo", "validate", str(path), code=2)["error"]
        assert (error["code"], f"{path} is no regular file" in error["message"]) == ("invalid_input", True)


def test_every_mistake_is_told_with_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, folder, "algo", "show", "dual_rsi", "--text")
    file = folder / "wrong.yml"
    file.write_text(text.replace("entry:", "entri:") + "timeout: {mode: stricct}\n")
    capsys.readouterr()
    assert run(["algo", "validate", str(file), "-w", str(folder)]) == 2
    head, fix, *rest = capsys.readouterr().err.splitlines()
    lines = file.read_text().splitlines()
    assert head == f"error: {file}:{lines.index('entri:') + 1}: unknown key 'entri'"
    assert fix == "  fix: did you mean 'entry'?"
    place = f"also: {file}:{len(lines)}: timeout.mode: 'stricct' is not allowed"
    assert rest[rest.index(place) + 1] == "  fix: did you mean 'strict'?"
