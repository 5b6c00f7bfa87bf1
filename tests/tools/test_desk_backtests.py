"""Backtests through tools: equal to the command's, honest, short or as a job, and readable afterwards."""

import asyncio
import json
import subprocess
import sys

import pytest
from desk_stage import Stage

from tradeagent.algos.store import built_in
from tradeagent.domain.names import Mode
from tradeagent.ledger import jobs
from tradeagent.research import store
from tradeagent.tools import desk_results
from tradeagent.tools.desk_backtests import RunBacktest, place_of

ASKED = {"algo": "sma_cross", "market": "BTC", "interval": "1h", "start": "2025-04-01", "end": "2025-07-01"}


def work(stage: Stage) -> None:
    """What whoever hosts a turn has done about the jobs that wait: a worker runs them, each in a process of its own."""
    command = [sys.executable, "-m", "tradeagent", "-w", str(stage.workspace.root), "jobs", "work"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


async def test_a_short_backtest_gives_figures_and_how_far_to_trust_them(stage: Stage) -> None:
    found = await stage.call("run_backtest", Mode.RESEARCH, **ASKED, params={"fast": 12})
    assert (found["algo"], found["params"]) == ("sma_cross", {"fast": 12})
    assert (found["data"]["first"], found["data"]["last"]) == ("2025-04-01T00:00:00Z", "2025-06-30T23:00:00Z")
    trust = found["honesty"]
    assert trust["tries_at_this_idea"] == 1 and set(trust["costs_x2"]) == {"total_return_pct", "max_drawdown_pct", "sharpe", "trades"}
    assert "pbo" in trust and "deflated_sharpe_probability" in trust and trust["lookahead_found"] is False
    assert found["limits_impact"] and isinstance(found["metrics"]["win_rate_pct"], float)
    again = await stage.call("run_backtest", Mode.RESEARCH, **ASKED, params={"fast": 13})
    assert again["honesty"]["tries_at_this_idea"] == 2, "every try is counted"
    kept = store.get(stage.context().research.results, found["backtest"])
    assert desk_results.backtest(kept.document) == found
    assert len(json.dumps(found)) < 4_000


async def test_a_stored_backtest_is_read_drawn_and_compared(stage: Stage) -> None:
    first = await stage.call("run_backtest", **ASKED)
    second = await stage.call("run_backtest", **ASKED, params={"fast": 15}, leverage=2)
    read = await stage.call("get_backtest_results", trades=3)
    assert read["backtest"] == second["backtest"] and len(read["trades"]) == 3
    assert (await stage.call("get_backtest_results", backtest=first["backtest"][-8:]))["backtest"] == first["backtest"]
    for what in ("equity", "drawdown", "candles"):
        drawn = await stage.call("plot_backtest", backtest=first["backtest"], what=what)
        assert len(drawn["chart"].splitlines()) >= 10
    pictured = await stage.call("plot_backtest", png=True)
    assert (stage.workspace.state_dir / "charts" / f"backtest-{second['backtest']}.png").read_bytes().startswith(b"\x89PNG")
    assert pictured["png"].endswith(f"{second['backtest']}.png")
    sides = await stage.call("compare_backtests", backtests=[first["backtest"], second["backtest"]])
    assert sides["question"]["leverage"] == [1, 2] and "market" not in sides["question"]
    assert sides["metrics"]["sharpe"] == [first["metrics"]["sharpe"], second["metrics"]["sharpe"]]
    assert sides["honesty"]["tries_at_this_idea"] == [1, 2]


async def test_a_backtest_through_the_door_is_a_job_whose_result_is_fetched_later(stage: Stage) -> None:
    asked = await stage.call("run_backtest", **ASKED, params={"fast": 12}, limits="algo", wait_s=0)
    assert asked["state"] == "queued" and "get_backtest_results" in asked["next"]
    with stage.ledger.reading() as tx:
        row = jobs.get(tx, asked["job"])
    place = ["--market=BTC", "--interval=1h", "--venue=hyperliquid", "--from=2025-04-01", "--to=2025-07-01"]
    assert row.kind == "backtest" and row.arguments == {
        "argv": ["backtest", "run", "sma_cross", *place, "--param=fast=12", "--limits=algo"]
    }
    assert (await stage.call("get_backtest_results", backtest=asked["job"]))["state"] == "queued"
    work(stage)
    done = await stage.call("get_backtest_results", backtest=asked["job"])
    assert done["algo"] == "sma_cross" and done["job"] == asked["job"] and done["metrics"]["trades"] > 0


async def test_a_search_and_a_validation_run_as_jobs_and_are_read_by_job_or_study(stage: Stage) -> None:
    place = {"algo": "sma_cross", "market": "BTC", "interval": "4h"}
    search = stage.call("optimize", **place, params={"fast": "5:20:5"}, n_trials=6, wait_s=60)
    task = asyncio.create_task(search)
    while not _queued(stage):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(work, stage)
    found = await task
    assert found["kind"] == "optimize" and found["trials"]["trials"] == 6 and set(found["best"]["params"]) >= {"fast"}
    assert found["honesty"]["tries_at_this_idea"] >= 6 and "pbo" in found["honesty"]
    by_study = await stage.call("get_optimization", study=found["study"])
    assert by_study["best"] == found["best"] and by_study["state"] == "complete"
    drawn = await stage.call("plot_optimization", study=found["study"])
    assert drawn["chart"].startswith("score by trial")
    asked = await stage.call("rolling_cv_backtest", **place, params={"fast": "5:20:5"}, n_trials=3, folds=2, wait_s=0)
    assert (await stage.call("get_optimization", study=asked["job"]))["state"] == "queued"
    work(stage)
    told = await stage.call("get_optimization", study=asked["job"])
    assert told["verdict"] in ("pass", "fail") and len(told["folds"]) == 2 and told["honesty"]["tries_at_this_idea"] > 6
    assert (await stage.call("get_optimization"))["study"] == told["study"], "last is the newest of either kind"
    assert (await stage.call("plot_optimization", study=told["study"]))["error"]["code"] == "not_found"


def _queued(stage: Stage) -> bool:
    with stage.ledger.reading() as tx:
        return bool(jobs.listed(tx, 1))


async def test_a_job_that_failed_says_why(stage: Stage) -> None:
    asked = await stage.call("optimize", algo="sma_cross", market="DOGE", interval="1h", n_trials=2, wait_s=0)
    work(stage)
    failed = (await stage.call("get_optimization", study=asked["job"]))["error"]
    assert failed["code"] == "data_error" and "DOGE" in failed["message"] and failed["hint"]


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("run_backtest", {"algo": "sma_cross"}, "market is missing"),
        ("run_backtest", {"algo": "sma_cross", "market": "BTC"}, "interval is missing"),
        ("run_backtest", {**ASKED, "start": "2025-08-01"}, "is not before end"),
        ("run_backtest", {**ASKED, "start": "99999999999999999999"}, "is not a time"),
        ("run_backtest", {**ASKED, "market": "DOGE"}, "DOGE"),
        ("run_backtest", {**ASKED, "params": {"fats": 3}}, "fats"),
        ("run_backtest", {**ASKED, "market": "--json"}, "pattern"),
        ("optimize", {**ASKED, "params": {"fast": "x y"}}, "pattern"),
        ("optimize", {**ASKED, "params": {"nope": "1:2"}}, "nope"),
        ("optimize", {**ASKED, "objective": "__import__('os')"}, "objective"),
        ("get_backtest_results", {"backtest": "ZZZZ"}, "no research results"),
        ("get_optimization", {"study": "ZZZZ"}, "ZZZZ"),
    ],
)
async def test_what_cannot_be_run_is_said_before_anything_is_queued(
    stage: Stage, tool: str, arguments: dict[str, object], says: str
) -> None:
    found = (await stage.call(tool, **arguments))["error"]
    assert says in found["message"] and found["hint"]
    assert not _queued(stage)


def test_values_of_a_model_cannot_become_other_flags(stage: Stage) -> None:
    asked = RunBacktest(algo="sma_cross", market="BTC", interval="1h", cash=500, leverage=3)
    argv = place_of(stage.context(), built_in("sma_cross"), asked).argv(asked)
    assert argv == ["--market=BTC", "--interval=1h", "--venue=hyperliquid", "--cash=500", "--leverage=3"]


async def test_a_cancelled_job_says_so(stage: Stage) -> None:
    asked = await stage.call("optimize", algo="sma_cross", market="BTC", interval="1h", wait_s=0)
    with stage.ledger.transaction() as tx:
        jobs.cancel(tx, jobs.get(tx, asked["job"]), 2)
    found = (await stage.call("get_optimization", study=asked["job"]))["error"]
    assert "cancelled" in found["message"] and found["hint"] == f"tradeagent jobs show {asked['job']}"
