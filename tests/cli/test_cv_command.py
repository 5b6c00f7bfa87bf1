"""`cv`: rolling validation from the command line: fold by fold, with a verdict, and every wrong length by name."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from study_workspace import ask, copied, line, make_workspace, unmoved

from tradeagent.cli.entry import run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("cv") / "ws")


def test_a_validation_is_told_kept_and_shown(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied(base, tmp_path / "ws")
    told = ask(capsys, line(folder, "cv", "--train", "40d", "--test", "10d", "--embargo", "5", "--n-trials", "12"))
    assert told["layout"] == {"train": 960, "test": 240, "step": 240, "purge": 89, "embargo": 5, "anchored": False}
    assert len(told["folds"]) == 5 and told["trials"] == 60
    for fold in told["folds"]:
        assert fold["train"][0] < fold["train"][1] < fold["test"][0] < fold["test"][1]
        assert set(fold["params"]) == {"fast.length", "slow.length", "timeout.bars"} and fold["trades"] > 0
    summary = told["summary"]
    assert float(summary["pnl"]) == pytest.approx(sum(float(fold["pnl"]) for fold in told["folds"]), abs=1e-5)
    assert summary["worst_drawdown_pct"] == max(fold["max_drawdown_pct"] for fold in told["folds"])
    positive = sum(float(fold["pnl"]) > 0 for fold in told["folds"])
    assert (told["verdict"] == "pass") == (positive >= 3 and summary["worst_drawdown_pct"] <= 20)
    assert told["honesty"]["trials"] == told["distinct"] + len(told["folds"]), "every training trial and every test is a try"
    assert unmoved(ask(capsys, ["cv", "show", told["id"], "-w", str(folder)])) == unmoved(told)
    assert run(["cv", "show", told["id"], "-w", str(folder)]) == 0
    assert f"verdict: {told['verdict']}" in capsys.readouterr().out
    (row,) = ask(capsys, ["cv", "list", "-w", str(folder)])
    assert (row["id"], row["verdict"], row["state"]) == (told["id"], told["verdict"], "complete")


def test_a_test_is_what_a_backtest_of_its_span_is(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bars before a test feed its indicators and nothing else: with them given to a backtest as its start, its trades are the same."""
    folder = copied(base, tmp_path / "ws")
    told = ask(capsys, line(folder, "cv", "--train", "40d", "--test", "10d", "--folds", "1", "--n-trials", "4"))
    fold = told["folds"][0]
    params = [word for name, value in fold["params"].items() for word in ("--param", f"{name}={value}")]
    until = ["--to", fold["test"][1], "--close-at-end", "--trades"]
    whole = ask(capsys, ["backtest", *line(folder, "backtest", *params, *until)[1:]])
    inside = [trade for trade in whole["trades"] if trade["entry_time"] > fold["test"][0]]
    assert abs(len(inside) - fold["trades"]) <= 1 and fold["trades"] > 1


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--train", "80", "--test", "40"], "invalid_input", "train: 80 bars are not more than the longest warm-up of the space, 89 bars"),
        (["--train", "90d", "--test", "20d"], "data_error", "one fold needs 2,729 bars"),
        (["--train", "90m"], "invalid_input", "--train: 90m is no whole number of 1h bars"),
        (["--train", "soon"], "invalid_input", "--train: 'soon' is not a duration"),
        (["--folds", "50", "--train", "20d", "--test", "5d"], "data_error", "50 folds do not fit"),
        (["--test", "1", "--train", "500"], "invalid_input", "test: 1 bar is too short"),
        (["--embargo", "-3"], "invalid_input", "embargo: -3"),
        (["--drawdown-limit", "nan"], "invalid_input", "--drawdown-limit: nan is not above 0 and at most 100"),
        (["--drawdown-limit", "-1"], "invalid_input", "--drawdown-limit: -1 is not"),
        (["--drawdown-limit", "1e308"], "invalid_input", "--drawdown-limit: 1e+308 is not"),
        (["-i", "7m"], "invalid_input", "--interval: 7m"),
    ],
)
def test_folds_that_cannot_be(base: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: str, problem: str) -> None:
    error = ask(capsys, line(base, "cv", *arguments), 2)["error"]
    assert error["code"] == code and problem in error["message"] and error["hint"]
