"""`optimize`: a search from the command line, its stored answer, and every wrong flag by name."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from study_workspace import ask, copied, line, make_workspace, unmoved

from tradeagent.cli.entry import run
from tradeagent.ledger import studies
from tradeagent.ledger.store import open_ledger
from tradeagent.workspace.paths import Workspace


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("optimize") / "ws")


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    return copied(base, tmp_path / "ws")


def test_a_search_is_told_kept_counted_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(capsys, line(folder, "optimize", "--n-trials", "24", "--seed", "5"))
    assert told["trials"] == 24 == told["valid"] + told["invalid"] + told["pruned"]
    assert set(told["best"]["params"]) == {"fast.length", "slow.length", "timeout.bars"}
    assert told["best"]["score"] == pytest.approx(told["best"]["metrics"]["sharpe"])
    assert told["best"]["score"] == max(trial["score"] for trial in told["top"])
    honesty = told["honesty"]
    assert honesty["trials"] == told["distinct"] and 0 <= honesty["pbo"] <= 1 and "ci" in honesty
    shown = ask(capsys, ["optimize", "show", told["id"][-8:], "--trials", "-w", str(folder)])
    assert len(shown.pop("all_trials")) == 24 and unmoved(shown) == unmoved(told)
    (row,) = ask(capsys, ["optimize", "list", "-w", str(folder)])
    assert (row["id"], row["state"], row["trials"], row["best"]) == (told["id"], "complete", 24, told["best"]["score"])
    params = [word for name, value in told["best"]["params"].items() for word in ("--param", f"{name}={value}")]
    again = ask(capsys, ["backtest", *line(folder, "backtest", *params)[1:]])
    assert again["metrics"] == told["best"]["metrics"] and again["honesty"]["trials"] == told["distinct"]


def test_the_best_point_keeps_what_its_own_search_knows_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A later search of the idea, which is another, changes nothing about it; a backtest run by hand knows the newest."""
    first = ask(capsys, line(folder, "optimize", "--n-trials", "12", "--seed", "5"))
    later = ask(capsys, line(folder, "optimize", "--n-trials", "9", "--seed", "6", "--param", "fast.length=2:9"))
    for told in (first, later):
        kept = ask(capsys, ["backtest", "show", told["backtest"], "-w", str(folder)])["honesty"]
        assert kept == told["honesty"] and kept["pbo"] is not None and kept["deflated_sharpe"] is not None
        assert f"of search …{told['id'][-6:]}, {told['distinct']} trials" in kept["notes"]["pbo"]
        assert kept["trials"] >= told["distinct"]
    assert first["honesty"]["pbo"] != later["honesty"]["pbo"]
    by_hand = ask(capsys, ["backtest", *line(folder, "backtest")[1:]])["honesty"]
    assert by_hand["pbo"] == later["honesty"]["pbo"]
    assert run(["backtest", "report", first["backtest"], "--out", str(folder / "best.html"), "-w", str(folder)]) == 0
    assert f"of search …{first['id'][-6:]}, {first['distinct']} trials" in (folder / "best.html").read_text()


def test_a_search_over_few_days_says_why_it_cannot_judge_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(capsys, line(folder, "optimize", "--n-trials", "5", "--to", "2025-02-20"))
    kept = ask(capsys, ["backtest", "show", told["backtest"], "-w", str(folder)])["honesty"]
    assert kept["pbo"] is None and f"search …{told['id'][-6:]} has {told['distinct']} and 50" in kept["notes"]["pbo"]


def test_the_same_seed_gives_the_same_search_with_two_worker_processes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = line(folder, "optimize", "--n-trials", "16", "--folds", "3", "--fresh")
    alone, beside, other = (ask(capsys, [*command, *more]) for more in (["--workers", "1"], ["--workers", "2"], ["--seed", "1"]))
    assert unmoved(alone) == unmoved(beside)
    assert alone["top"] != other["top"]


def test_people_get_a_table_and_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*line(folder, "optimize", "--n-trials", "20", "--sampler", "random"), "--plot"]) == 0
    text = capsys.readouterr().out
    for words in ("best sharpe", "tries at this idea so far", "importance", "score by fast.length", "next: tradeagent backtest show"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 130


def test_a_grid_over_given_values_runs_each_of_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--param", "fast.length=5:15:5", "--param", "slow.length=30,60", "--param", "timeout.bars=2"]
    told = ask(capsys, line(folder, "optimize", "--sampler", "grid", "--objective", "total_return_pct - max_drawdown_pct", *given))
    assert told["trials"] == told["distinct"] == 6 and told["fixed"] == {"timeout.bars": 2}
    assert told["space"] == {"fast.length": [5, 10, 15], "slow.length": [30, 60]}
    metrics = told["best"]["metrics"]
    assert told["best"]["score"] == pytest.approx(metrics["total_return_pct"] - metrics["max_drawdown_pct"])


def test_the_space_of_an_answer_can_be_asked_for_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = {"fast.length": "5:30:5", "slow.length": "31:400", "timeout.bars": "1,2,4,8,16,32", "sizing.pct_of_equity": "0.5:50:log"}
    given = [word for name, values in written.items() for word in ("--param", f"{name}={values}")]
    space = ask(capsys, line(folder, "optimize", "--n-trials", "2", "--sampler", "random", *given))["space"]
    assert {name: space[name] for name in written} == {
        "fast.length": {"from": 5, "to": 30, "step": 5},
        "slow.length": {"from": 31, "to": 400, "step": 1},
        "timeout.bars": [1, 2, 4, 8, 16, 32],
        "sizing.pct_of_equity": {"from": "0.5", "to": "50", "log": True},
    }


@pytest.mark.parametrize(
    ("arguments", "code", "problem", "hint"),
    [
        (["--param", "fast.lenght=5:10"], "unknown_key", "'fast.lenght'", "did you mean fast.length?"),
        (["--param", "fast.length=10:5"], "invalid_input", "10:5 is empty", "5:10"),
        (["--param", "fast.length"], "invalid_input", "NAME=VALUES", "5:50:5"),
        (["--sampler", "tpee"], "invalid_input", "--sampler: 'tpee'", "tpe, random, grid"),
        (["--objective", "sharpp"], "invalid_input", "'sharpp'", "sharpe"),
        (["--objective", "sharpe +"], "invalid_input", "--objective: it ends too early", "max_drawdown_pct"),
        (["--workers", "100000"], "invalid_input", "workers: 100,000 is above", "--workers"),
        (["-i", "7m"], "invalid_input", "--interval: 7m", "1m, 3m, 5m"),
        (["--n-trials", "0"], "invalid_input", "n_trials: 0", "--n-trials"),
        (["--folds", "90"], "data_error", "longest warm-up of the space is 89", "fewer --folds"),
        (["--min-trades", "5000", "--n-trials", "4"], "invalid_input", "no valid trial among 4", "--min-trades"),
        (["--from", "2030-01-01"], "data_error", "no bars", "--from"),
        (["--max-drawdown", "200"], "invalid_input", "max_drawdown: 200", "20"),
        (["--resume", "ABCDEF"], "invalid_input", "takes no algo", "--resume ABCDEF"),
        (["--cluster", "nowhere"], "venue_error", "no scheduler answers at 'nowhere'", "dask scheduler"),
    ],
)
def test_what_cannot_be_searched(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: str, problem: str, hint: str
) -> None:
    error = ask(capsys, line(folder, "optimize", *arguments), 5 if code == "venue_error" else 2)["error"]
    assert error["code"] == code and problem in error["message"] and hint in error["hint"]


def test_the_arguments_of_a_python_algorithm_are_its_parameters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "flip.py").write_text("def signals(bars, length=5, *, level=0.0):\n    return [0] * len(bars['close'])\n")
    command = ["optimize", "run", str(folder / "flip.py"), "-m", "BTC", "-i", "1h", "--venue", "synthetic", "-w", str(folder)]
    error = ask(capsys, [*command, "--param", "lenght=5:10"], 2)["error"]
    assert error["code"] == "unknown_key" and error["hint"] == "did you mean length?"
    assert "length, level" in ask(capsys, command, 2)["error"]["hint"]


def test_a_search_without_a_valid_trial_is_kept_as_failed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = ask(capsys, line(folder, "optimize", "--min-trades", "5000", "--n-trials", "4"), 2)["error"]
    (row,) = ask(capsys, ["optimize", "list", "-w", str(folder)])
    assert (row["state"], row["trials"]) == ("failed", 4)
    shown = ask(capsys, ["optimize", "show", row["id"], "-w", str(folder)])
    assert shown["error"]["message"] == error["message"]
    assert run(["optimize", "show", row["id"], "-w", str(folder)]) == 0


def test_last_is_the_newest_of_its_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ask(capsys, line(folder, "optimize", "--n-trials", "4", "--seed", "1"))
    tested = ask(capsys, line(folder, "cv", "--folds", "2", "--n-trials", "3"))
    assert ask(capsys, ["optimize", "show", "last", "-w", str(folder)])["id"] == first["id"]
    assert ask(capsys, ["cv", "show", "last", "-w", str(folder)])["id"] == tested["id"]
    newer = ask(capsys, line(folder, "optimize", "--n-trials", "4", "--seed", "2"))
    assert ask(capsys, ["optimize", "show", "last", "-w", str(folder)])["id"] == newer["id"]
    assert unmoved(ask(capsys, ["optimize", "run", "--resume", "last", "-w", str(folder)])) == unmoved(newer)


def test_a_study_that_is_not_there(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["show", "NOPE"], ["run", "--resume", "NOPE"], ["show", "last"]):
        assert ask(capsys, ["optimize", *words, "-w", str(base)], 4)["error"]["code"] == "not_found"


def test_a_study_whose_bars_moved_cannot_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = open_ledger(Workspace(folder).ledger_file)
    told = ask(capsys, line(folder, "optimize", "--n-trials", "4"))
    with ledger.transaction() as tx:
        row = studies.get(tx, told["id"], "optimize")
        studies.create(tx, studies.StudyRow("0MOVED", row.kind, studies.RUNNING, row.plan | {"fingerprint": "other"}, None, 0))
    ledger.close()
    error = ask(capsys, ["optimize", "run", "--resume", "0MOVED", "-w", str(folder)], 2)["error"]
    assert "the stored bars or their funding changed since it began" in error["message"]
