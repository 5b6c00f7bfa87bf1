"""The main job on real bars, typed as a person would: make a workspace, import, validate, dry run, one tick, five hundred ticks."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from product import BTC, Answer, Product, copied

pytestmark = pytest.mark.slow
TICKS = 500
KEPT = 100
REPORT = {
    "mode", "network", "agent", "agent_id", "deployment", "session", "ticks", "blocked_ticks", "proposals", "executed", "rejected",
    "round_trips", "equity_start", "equity_end", "realised_pnl", "unrealised_pnl", "fees", "funding", "model", "files", "stopped_because",
}  # fmt: skip
FILL = {
    "time", "deployment", "market", "side", "size", "price", "fee", "liquidity", "order_id", "cloid", "trade_id", "realised_pnl",
}  # fmt: skip
POSITION = {
    "market", "size", "entry_price", "mark_price", "leverage", "unrealised_pnl", "liquidation_price", "stop", "target", "margin_used",
    "funding_since_open",
}  # fmt: skip
WALLET = {
    "name", "venue", "network", "group", "deployment", "cash", "equity", "margin_used", "margin_free", "maintenance_margin",
    "day_start_equity", "day_pnl", "peak_equity", "drawdown_pct", "lockout", "halt", "effective_portfolio_cap", "penalty", "positions",
    "open_orders",
}  # fmt: skip
ORDER = {
    "order_id", "cloid", "wallet", "market", "side", "type", "size", "filled", "price", "trigger", "reduce_only", "tif", "time",
}  # fmt: skip
DEPLOYMENT = {
    "id", "kind", "slug", "wallet", "state", "mode", "equity", "day_pnl", "open_positions", "next_tick_at", "last_tick_at", "feed_age_s",
    "reconciliation", "incidents",
}  # fmt: skip
IMPORT = {
    "venue", "market", "interval", "rows_read", "rows_written", "duplicates", "gaps", "missing_bars", "bad_rows", "first", "last",
}  # fmt: skip
MONEY = ("equity_start", "equity_end", "realised_pnl", "unrealised_pnl", "fees", "funding")
JOURNAL = {
    "Decisions": re.compile(r"- \*\*(#\d+|error|directive|command|tick_blocked|taken_over|paused)\*\* \(\d\d:\d\d\) .+"),
    "Ticks": re.compile(r"- tick#(\d+) \| \d{4}-\d\d-\d\d \d\d:\d\d \| actions=\d+ \| .+"),
    "Executors": re.compile(r"- executor=.+"),
    "Snapshots": re.compile(
        r"- \d{4}-\d\d-\d\d \d\d:\d\d \| pnl=([+-]\$[\d,.]+|unknown) \| volume=\$[\d,.]+ \| open=\d+ \| exposure=\$[\d,.]+"
    ),
}


@dataclass(frozen=True)
class Played:
    """What every step of the job answered, and where."""

    product: Product
    bars: Path
    answers: dict[str, Answer]

    def __getitem__(self, step: str) -> Any:
        return self.answers[step].document

    @property
    def session(self) -> Path:
        return self.product.session_folder("btc_momentum")


@pytest.fixture(scope="module")
def played(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The whole job, each command in a process of its own."""
    root = tmp_path_factory.mktemp("main") / "ws"
    product, bars = Product(root), shared_data / "hyperliquid_BTC_5m.parquet"
    steps = {
        "init": ("init", str(root)),
        "bars": ("data", "import", str(bars), "--market", "BTC", "--interval", "5m"),
        "rates": ("data", "import", str(shared_data / "hyperliquid_BTC_funding_1h.parquet"), "--market", "BTC", "--funding"),
        "validate": ("agent", "validate", "btc_momentum"),
        "dry": ("run", "btc_momentum", "--mode", "dry-run", "--replay", BTC),
        "once": ("run", "btc_momentum", "--mode", "once", "--replay", BTC),
        "loop": ("run", "btc_momentum", "--mode", "loop", "--replay", BTC, "--max-ticks", str(TICKS)),
    }
    answers = {name: product.run(*words, "--json") for name, words in steps.items()}
    for name, words in {
        "status": ("status",),
        "wallet": ("wallet", "show", "btc_momentum"),
        "fills": ("fills", "--limit", "100000"),
        "funding": ("audit", "--kind", "funding", "--limit", "100000"),
        "positions": ("position", "list"),
        "orders": ("order", "list"),
        "limits": ("limits", "btc_momentum"),
        "usage": ("usage", "--days", "3650"),
        "journal": ("journal", "btc_momentum"),
        "snapshots": ("snapshots", "btc_momentum"),
        "audit": ("audit", "--limit", "100000"),
        "incidents": ("incidents", "--all"),
        "doctor": ("doctor",),
        "versions": ("agent", "versions", "btc_momentum"),
    }.items():
        answers[name] = product.here(*words, "--json")
    return Played(product, bars, answers)


def test_every_step_succeeds_with_one_json_document_and_nothing_else(played: Played) -> None:
    for name, answer in played.answers.items():
        assert (name, answer.code) == (name, 0), answer
        assert answer.out.count("\n") == 1, name
        assert answer.document is not None
        assert answer.err == "", name
    print({name: round(answer.seconds, 2) for name, answer in played.answers.items()})


def test_the_documents_have_every_field_of_the_contract(played: Played) -> None:
    for step in ("dry", "once", "loop"):
        assert set(played[step]) >= REPORT
        assert set(played[step]["model"]) >= {"id", "calls", "tokens", "cost_usd"}
        assert set(played[step]["files"]) == {"journal", "snapshots"}
        assert all(isinstance(played[step][key], str) for key in MONEY)
    rows = {"fills": FILL, "positions": POSITION, "orders": ORDER}
    for step, fields in rows.items():
        assert played[step], step
        assert all(set(row) >= fields for row in played[step]), step
    assert set(played["status"]) >= {"workspace", "network", "deployments", "kill_switch", "incidents"}
    assert all(set(row) >= DEPLOYMENT for row in played["status"]["deployments"])
    assert set(played["wallet"]) >= WALLET
    assert set(played["bars"]) >= IMPORT
    assert set(played["audit"][0]) == {"seq", "time", "kind", "wallet", "deployment", "actor", "subject", "data"}
    assert all(set(row) == {"key", "value", "used", "left", "origin", "ceiling"} for row in played["limits"])
    assert all(set(row) == {"name", "ok", "detail", "fix"} for row in played["doctor"]["checks"])


def test_modes_and_identities_follow_the_folder_rules(played: Played) -> None:
    assert [played[step]["mode"] for step in ("dry", "once", "loop")] == ["dry_run", "run_once", "loop"]
    assert [played[step]["agent_id"] for step in ("dry", "once", "loop")] == ["btc_momentum_e1", "btc_momentum_e2", "btc_momentum_1"]
    assert [played[step]["session"] for step in ("dry", "once", "loop")] == [None, None, 1]
    assert played["dry"]["executed"] == 0
    assert set(played["dry"]["rejected"]) <= {"DRY_RUN"}
    assert played["dry"]["model"]["calls"] > 0
    assert (played["loop"]["ticks"], played["loop"]["stopped_because"]) == (TICKS, "max_ticks")
    assert played["loop"]["round_trips"] >= 10
    assert {row["id"]: row["state"] for row in played["status"]["deployments"]}["btc_momentum_1"] == "completed"


def test_the_folder_of_the_agent_holds_what_the_format_says_and_nothing_else(played: Played) -> None:
    folder = played.product.agents / "btc_momentum"
    assert {path.name for path in folder.iterdir()} <= {
        "agent.md", "config.yml", "learnings.md", "reflection.md", "routines", "suggestions.yml", "sessions", "dry_runs",
    }  # fmt: skip
    assert {path.name for path in (folder / "dry_runs").iterdir()} == {"experiment_1.md", "experiment_2.md"}
    assert {path.name for path in (folder / "sessions").iterdir()} == {"session_1"}
    names = {path.name for path in played.session.iterdir()}
    assert names >= {"config.yml", "journal.md", "journal_archive.md", "status.json", "snapshots"}
    assert names <= {"config.yml", "journal.md", "journal_archive.md", "status.json", "snapshots", "canvas.md"}
    status = json.loads((played.session / "status.json").read_text())
    assert set(status) == {"state", "deployment_id", "boot_id", "pid", "started_at", "ended_at", "ticks"}
    assert (status["state"], status["deployment_id"], status["ticks"]) == ("completed", "btc_momentum_1", TICKS)


def test_the_journal_reads_as_its_format_and_every_tick_has_its_line(played: Played) -> None:
    text = (played.session / "journal.md").read_text()
    assert played["journal"]["text"] == text
    assert text.startswith("# Journal - btc_momentum_1\n\n## Summary\nTick 500 at 2025-03-16 ")
    sections = {part.split("\n", 1)[0]: part.split("\n")[1:] for part in text.split("\n## ")[1:]}
    assert list(sections) == ["Summary", "Decisions", "Ticks", "Executors", "Snapshots"]
    for name, pattern in JOURNAL.items():
        lines = [line for line in sections[name] if line]
        assert all(pattern.fullmatch(line) for line in lines), (name, next(line for line in lines if not pattern.fullmatch(line)))
    ticks = [int(found[1]) for line in sections["Ticks"] if (found := JOURNAL["Ticks"].fullmatch(line))]
    assert ticks == list(range(1, TICKS + 1))
    assert len(sections["Decisions"]) - sections["Decisions"].count("") <= 20
    decided = re.findall(r"^- \*\*#(\d+)\*\*", (played.session / "journal_archive.md").read_text() + text, re.MULTILINE)
    assert sorted(set(map(int, decided))) == list(range(1, TICKS + 1))


def test_snapshots_are_numbered_and_the_newest_hundred_are_kept(played: Played) -> None:
    expected = list(range(TICKS - KEPT + 1, TICKS + 1))
    assert [row["tick"] for row in played["snapshots"]] == expected
    files = {path.name for path in (played.session / "snapshots").iterdir()}
    assert files == {f"snapshot_{number}.md" for number in expected}
    text = (played.session / "snapshots" / f"snapshot_{TICKS}.md").read_text()
    for title in ("Prompt", "Providers", "Risk state", "Response", "Tool calls", "Usage"):
        assert f"<summary>{title}</summary>" in text


def test_the_equity_follows_from_the_fills_and_the_bars_alone(played: Played, tmp_path: Path) -> None:
    for name in ("fills", "funding"):
        (tmp_path / f"{name}.json").write_text(played.answers[name].out)
    report = played["loop"]
    last_tick = next(row["last_tick_at"] for row in played["status"]["deployments"] if row["id"] == "btc_momentum_1")
    done = subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("check_equity.py"))),
            *("--fills", str(tmp_path / "fills.json"), "--funding", str(tmp_path / "funding.json")),
            *("--bars", f"BTC={played.bars}", "--start", played["once"]["equity_start"], "--at", last_tick),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert found["fills"] >= 20
    assert Decimal(found["equity"]) == Decimal(report["equity_end"]) == Decimal(played["wallet"]["equity"])
    before = played["once"]
    for key, theirs in {"realised": "realised_pnl", "fees": "fees", "funding": "funding"}.items():
        assert Decimal(found[key]) == Decimal(report[theirs]) + Decimal(before[theirs])
    assert Decimal(found["unrealised"]) == Decimal(report["unrealised_pnl"])


def test_the_report_adds_up(played: Played) -> None:
    for step in ("dry", "once", "loop"):
        money = {key: Decimal(played[step][key]) for key in (*MONEY, "flows")}
        begun = Decimal(played["once"]["unrealised_pnl"]) if step == "loop" else Decimal(0)
        change = money["realised_pnl"] + money["unrealised_pnl"] - begun - money["fees"] - money["funding"] + money["flows"]
        assert money["equity_end"] == money["equity_start"] + change


def test_nothing_was_left_for_a_person(played: Played) -> None:
    assert played["incidents"] == []
    assert played["doctor"]["ok"]
    phases = [event["data"]["phase"] for event in played["audit"] if event["kind"] == "reconcile.phase"]
    assert "failed" not in phases and phases[-1] == "consistent"


def test_every_position_rests_behind_a_stop_that_is_an_order(played: Played) -> None:
    stops = {order["trigger"] for order in played["orders"] if order["type"] == "stop_market"}
    for position in played["positions"]:
        assert position["stop"] in stops


def test_the_same_replay_in_two_fresh_workspaces_gives_the_same_fills(template: Path, tmp_path: Path) -> None:
    products = [copied(template, tmp_path / name) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as both:
        words = ("run", "btc_momentum", "--replay", BTC, "--max-ticks", "100", "--seed", "3", "--json")
        reports = [answer.document for answer in both.map(lambda product: product.run(*words), products)]
    fills = [[{key: row[key] for key in row if key != "cloid"} for row in product.ask("fills")] for product in products]
    assert fills[0] == fills[1]
    assert len(fills[0]) >= 6
    own = {"files"}
    assert {key: reports[0][key] for key in reports[0].keys() - own} == {key: reports[1][key] for key in reports[1].keys() - own}
    journals = [(product.session_folder("btc_momentum") / "journal.md").read_text() for product in products]
    assert journals[0] == journals[1]
