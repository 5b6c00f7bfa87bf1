"""A named pipe where a file of an agent was: nothing waits for it, every command is answered, and the error says which file it is.

Everything here runs in processes with a time limit: a hang is a failure.
"""

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from product import BTC, Product, running, wait_until

from tradeagent.ledger import runs
from tradeagent.ledger.store import open_ledger

LIMIT_S = 60
AGENT = "btc_momentum"


def _pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("name", ["agent.md", "config.yml"])
def test_an_agent_whose_definition_is_a_pipe_is_listed_and_not_run(product: Product, name: str) -> None:
    path = _pipe(product.agents / AGENT / name)
    listed = {row["slug"]: row for row in product.run("agent", "list", "--json", timeout=LIMIT_S).document}
    assert str(path) in str(listed[AGENT])
    for words in (("agent", "show", AGENT), ("run", AGENT, "--mode", "dry-run", "--replay", BTC)):
        answer = product.run(*words, "--json", timeout=LIMIT_S)
        assert (answer.code, answer.error["code"]) == (2, "data_error"), answer
        assert str(path) in answer.error["message"]
        assert f"rm {path}" in answer.error["hint"]
    assert str(path) in product.run("doctor", "--json", timeout=LIMIT_S).out


@pytest.mark.parametrize("name", ["learnings.md", "reflection.md", "pinned.md"])
def test_a_memory_that_is_a_pipe_stops_a_tick_that_a_person_asked_for(product: Product, name: str) -> None:
    path = _pipe(product.agents / AGENT / name)
    answer = product.run("run", AGENT, "--mode", "dry-run", "--replay", BTC, "--json", timeout=LIMIT_S)
    assert (answer.code, answer.error["code"]) == (2, "data_error"), answer
    assert str(path) in answer.error["message"]


@pytest.mark.parametrize("name", ["learnings.md", "journal.md", "canvas.md"])
def test_a_running_agent_obeys_while_a_file_of_its_memory_is_a_pipe(product: Product, name: str) -> None:
    session = product.session_folder(AGENT)
    with running(product, AGENT, "--replay", BTC, "--speed", "900") as process:
        wait_until((session / "journal.md").exists)
        path = _pipe((product.agents / AGENT if name == "learnings.md" else session) / name)
        wait_until(lambda: any(str(path) in row["message"] for row in product.ask("incidents")))
        paused = product.run("pause", AGENT, "--json", timeout=LIMIT_S)
        assert (paused.code, paused.document["deployment_state"]) == (0, "paused"), paused
        assert product.run("stop", AGENT, "--json", timeout=LIMIT_S).code == 0
        process.communicate(timeout=LIMIT_S)
    assert [row["state"] for row in product.ask("status")["deployments"]] == ["stopped"]


def test_a_calendar_or_bars_that_are_a_pipe_are_refused(product: Product, tmp_path: Path) -> None:
    path = _pipe(tmp_path / "rows.csv")
    for words in (("calendar", "import", str(path)), ("data", "import", str(path), "--market", "BTC", "--interval", "5m")):
        answer = product.run(*words, "--json", timeout=LIMIT_S)
        assert (answer.code, answer.error["code"]) == (2, "data_error"), answer
        assert str(path) in answer.error["message"]


def test_an_agent_whose_sessions_were_deleted_runs_on_with_new_numbers(product: Product) -> None:
    for _ in range(2):
        assert product.here("run", AGENT, "--replay", BTC, "--max-ticks", "1", "--json").code == 0
        shutil.rmtree(product.agents / AGENT / "sessions")
        assert product.here("run", AGENT, "--mode", "dry-run", "--replay", BTC, "--json").code == 0
        shutil.rmtree(product.agents / AGENT / "dry_runs")
    with closing(open_ledger(product.ledger_file)) as ledger, ledger.reading() as tx:
        numbered = sorted(row.id for row in runs.all_deployments(tx))
    assert numbered == [f"{AGENT}_{n}" for n in ("1", "2", "e1", "e2")]
