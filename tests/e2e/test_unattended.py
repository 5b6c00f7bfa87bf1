"""The product where nobody sits: cron's empty environment, no terminal, no stdin, and no fresh bars."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from product import BTC, Answer, Product

DRY = ("run", "btc_momentum", "--mode", "dry-run", "--json")


def _bare(product: Product, *arguments: str, cwd: Path, **options: object) -> Answer:
    """As cron would: no variable at all, not even HOME."""
    words = [sys.executable, "-m", "tradeagent", "--workspace", str(product.root), *arguments]
    done = subprocess.run(words, env={}, cwd=cwd, capture_output=True, text=True, timeout=60, check=False, **options)
    return Answer(done.returncode, done.stdout, done.stderr)


def test_a_dry_run_in_an_empty_environment_prints_its_document_and_nothing_else(shared: Product, tmp_path: Path) -> None:
    answer = _bare(shared, *DRY, "--replay", BTC, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == json.dumps(answer.document, ensure_ascii=False) + "\n"
    assert answer.document["mode"] == "dry_run"
    assert list(tmp_path.iterdir()) == []


def test_closed_descriptors_are_no_reason_to_fail(shared: Product, tmp_path: Path) -> None:
    """`cmd <&- 2>&-`: Python then has no stdin at all, and the first file opened would get its number."""

    def close() -> None:
        os.close(0)
        os.close(2)

    out = tmp_path / "out.json"
    words = [sys.executable, "-m", "tradeagent", "--workspace", str(shared.root), *DRY, "--replay", BTC]
    with out.open("wb") as stdout:
        done = subprocess.run(words, env={}, cwd=tmp_path, stdout=stdout, preexec_fn=close, timeout=60, check=False)
    assert done.returncode == 0
    assert json.loads(out.read_text())["stopped_because"] == "one_tick"


def test_a_question_that_nobody_can_answer_is_an_error_and_not_a_wait(shared: Product, tmp_path: Path) -> None:
    assert shared.here("run", "btc_momentum", "--wallet", "asked", "--replay", BTC, "--max-ticks", "1", "--json").code == 0
    answer = _bare(shared, "flatten", "btc_momentum", "--json", cwd=tmp_path, preexec_fn=lambda: os.close(0))
    assert answer.code == 2
    assert answer.error["hint"] == "add --yes"


@pytest.mark.parametrize("mode", ["dry-run", "once"])
def test_stale_bars_block_the_tick_with_exit_3_and_the_reason(shared: Product, mode: str) -> None:
    answer = shared.run("run", "btc_momentum", "--mode", mode, "--wallet", "stale", "--json")
    assert (answer.code, answer.err) == (3, "")
    report = answer.document
    assert (report["ticks"], report["blocked_ticks"], report["blocked"]["rule"]) == (1, 1, "FRESHNESS")
    assert (report["model"]["calls"], report["model"]["cost_usd"]) == (0, "0")
    record = Path(report["files"]["snapshots"]).read_text()
    assert "FRESHNESS" in record
    assert "running; the record is written" not in record


def test_a_wallet_that_stayed_behind_is_told_the_age_of_the_newest_bar_and_its_feed_shows_stale(shared: Product) -> None:
    shared.ask("run", "btc_momentum", "--wallet", "behind", "--replay", BTC, "--max-ticks", "1")
    blocked = {
        mode: shared.here("run", "btc_momentum", "--mode", mode, "--wallet", "behind", "--json").document["blocked"]
        for mode in ("dry-run", "once")
    }
    assert blocked["once"] == blocked["dry-run"]
    (row,) = [row for row in shared.ask("status")["deployments"] if row["wallet"] == "behind"]
    assert row["feed_age_s"] > 86_400, "the wallet's own clock stands in the replay, and the run was by the wall"


def test_no_bars_at_all_block_the_tick_too(shared: Product) -> None:
    shared.ask("agent", "new", "Sol watcher")
    shared.rewrite("sol_watcher", ("markets: [BTC]", "markets: [SOL]"))
    answer = shared.here("run", "sol_watcher", "--mode", "dry-run", "--json")
    assert answer.code == 3
    assert "SOL has no bars" in answer.document["blocked"]["message"]


def test_no_workspace_says_what_to_type_wherever_home_is(tmp_path: Path) -> None:
    for home in (str(tmp_path), "not/absolute"):
        done = subprocess.run(
            [sys.executable, "-m", "tradeagent", "status", "--json"],
            env={"HOME": home},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        answer = Answer(done.returncode, done.stdout, done.stderr)
        assert (answer.code, answer.error["code"], answer.error["hint"]) == (4, "not_found", "tradeagent init")


def test_text_reaches_a_stream_that_cannot_show_all_of_it(shared: Product) -> None:
    """`1.5 × max_drawdown_pct` on an ASCII stream: a question mark, not a defect."""
    env = {**shared.environment(), "PYTHONIOENCODING": "ascii"}
    assert shared.run("limits", "btc_momentum", "--json", env=env).code == 0
    assert "1.5 ? max_drawdown_pct" in shared.run("limits", "btc_momentum", env=env).out


def test_the_demo_needs_nothing_and_plays_as_fast_as_it_can(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tradeagent", "demo", "--headless", "--ticks", "20", "--json"],
        env={"TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    report = Answer(done.returncode, done.stdout, done.stderr).document
    assert (done.returncode, done.stderr) == (0, "")
    assert (report["ticks"], report["blocked_ticks"], report["network"], report["market_data"]) == (20, 0, "paper", "synthetic")
    assert Path(report["files"]["journal"]).read_text().count("tick#") == 20
