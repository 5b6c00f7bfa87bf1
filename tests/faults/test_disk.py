"""A disk that is full, a workspace that is read-only, a file size limit: a clear error, nothing half-written, and a next run that works."""

import errno
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from minds import Scripted, run_with
from product import BTC, Answer, Product, copied

from tradeagent.ledger.store import open_ledger
from tradeagent.workspace.files import disk_error

RUN = ("run", "btc_momentum", "--replay", BTC)
ENTER = [("propose_order", {"market": "BTC", "side": "buy", "quote": "90", "stop": "80000", "target": "99000", "reason": "test"})]
WRITE = [("add_learning", {"section": "Active insights", "text": "disks fill up at night"}), ("update_canvas", {"thesis": "small " * 150})]


@contextmanager
def _mounted(mount: Path, size: str) -> Iterator[None]:
    """A small file system of its own in this folder."""
    mount.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no tmpfs here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.fixture
def small(template: Path, tmp_path: Path) -> Iterator[Product]:
    """A workspace on a file system of its own, 24 MB large, with the bars of BTC."""
    with _mounted(tmp_path / "disk", "24m"):
        root = tmp_path / "disk" / "ws"
        shutil.copytree(template, root, ignore=shutil.ignore_patterns("ETH", "HYPE"))
        product = Product(root)
        product.ask("config", "set", "trading.min_free_disk_mib", "0")
        yield product


def _fill(folder: Path) -> Path:
    """Take every byte that is left on a folder's disk."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    for size in (2**20, 4096, 1):
        try:
            while os.write(descriptor, bytes(size)):
                pass
        except OSError:
            continue
    os.close(descriptor)
    return filler


def test_a_full_disk_stops_a_start_and_a_read_still_answers(small: Product) -> None:
    small.ask("wallet", "new", "btc_momentum")
    filler = _fill(small.root.parent)
    answer = small.run(*RUN, "--max-ticks", "2", "--json")
    assert (answer.code, answer.error["code"]) == (2, "disk_full"), answer
    assert answer.error["hint"]
    _clean(answer)
    status = small.run("status", "--json")
    _clean(status)
    assert status.code == 0 or "free some space" in status.error["hint"], status
    filler.unlink()
    assert small.run(*RUN, "--max-ticks", "2", "--json").code == 0


def _with_a_position(small: Product) -> Product:
    """A wallet that holds, on a disk that is full to the last byte."""
    assert run_with(Scripted(ENTER), small, *RUN[1:], "--max-ticks", "1").code == 0
    assert len(small.ask("position", "list")) == 1
    _fill(small.root.parent)
    return small


OUT = (
    ("kill", "btc_momentum"),
    ("flatten", "btc_momentum"),
    ("stop", "btc_momentum", "--unwind"),
    ("position", "close", "BTC", "--wallet", "btc_momentum"),
)


@pytest.mark.parametrize("words", OUT, ids=lambda words: words[0])
def test_the_way_out_of_the_market_is_open_on_a_full_disk(small: Product, words: tuple[str, ...]) -> None:
    answer = _with_a_position(small).run(*words, "--yes", "--json")
    assert answer.code == 0, answer
    _clean(answer)
    assert small.ask("position", "list") == []
    assert small.ask("order", "list") == []
    assert small.ask("fills")[-1]["exit_reason"] in ("kill", "flatten", "manual")


BY_HAND = ("order", "place", "--wallet", "w", "--market", "BTC", "--side", "buy", "--quote", "500", "--replay", BTC, "--at")


def test_a_wallet_that_was_only_traded_by_hand_can_be_killed_on_a_full_disk(small: Product) -> None:
    small.ask("wallet", "new", "w", "--cash", "10000")
    small.ask(*BY_HAND, "2025-03-20T12:00Z")
    _fill(small.root.parent)
    answer = small.run("kill", "w", "--yes", "--json")
    assert (answer.code, answer.document["flat"]) == (0, True), answer
    assert small.ask("position", "list") == []


def test_where_only_the_ledger_cannot_be_written_they_say_why_and_kill_gets_flat(product: Product, tmp_path: Path) -> None:
    product.ask("wallet", "new", "w", "--cash", "10000")
    product.ask(*BY_HAND, "2025-03-20T12:00Z", "--stop", "60000")
    elsewhere = tmp_path / "disk"
    with _mounted(elsewhere, "4m"):
        shutil.move(product.ledger_file, elsewhere / "ledger.sqlite")
        product.ledger_file.symlink_to(elsewhere / "ledger.sqlite")
        filler = _fill(elsewhere)
        for words in (("flatten", "w", "--yes"), ("position", "close", "BTC", "--wallet", "w")):
            refused = product.run(*words, "--json")
            _clean(refused)
            assert refused.code == 2
            assert "`tradeagent kill w`" in refused.error["hint"]
        told = product.run("kill", "w", "--yes", "--json")
        assert (told.code, told.document["flat"], told.document["ledger"]) == (0, True, "later"), told
        filler.unlink()
        assert product.ask("reconcile", "w")["phase"] == "consistent"
        assert product.ask("position", "list") == product.ask("order", "list") == []
        assert product.ask("fills")[-1]["exit_reason"] == "kill"


def test_on_a_nearly_full_disk_entries_are_refused_and_exits_pass(small: Product) -> None:
    small.ask("wallet", "new", "w", "--cash", "10000")
    small.ask(*BY_HAND, "2025-03-20T12:00Z", "--stop", "60000")
    small.ask("config", "set", "trading.min_free_disk_mib", "200")
    for at in ("2025-03-20T12:05Z", "2025-03-20T12:10Z"):
        refused = small.here(*BY_HAND, at, "--json")
        assert (refused.code, refused.error["code"]) == (3, "PAUSED"), refused
        assert refused.error["details"]["limit_key"] == "trading.min_free_disk_mib"
        assert "free some space" in refused.error["hint"]
    assert [(row["code"], row["wallet"]) for row in small.ask("incidents")] == [("disk_full", "w")]
    assert run_with(Scripted(ENTER), small, *RUN[1:], "--max-ticks", "1").document["rejected"] == {"PAUSED": 1}
    small.ask("flatten", "w", "--yes")
    assert small.ask("position", "list") == []
    small.ask("config", "set", "trading.min_free_disk_mib", "1")
    small.ask(*BY_HAND, "2025-03-20T12:15Z")
    assert [row["wallet"] for row in small.ask("incidents")] == ["btc_momentum"], "the other is told when its door opens again"


def test_a_disk_that_fills_during_a_run_loses_no_trade_and_the_next_start_repairs_the_files(small: Product) -> None:
    filler: list[Path] = []

    def fill(tick: int) -> None:
        if tick == 3:
            filler.append(_fill(small.root.parent))

    answer = run_with(Scripted(ENTER, WRITE, ENTER + WRITE, WRITE, WRITE, when_asked=fill), small, *RUN[1:], "--max-ticks", "6")
    _clean(answer)
    assert answer.code in (1, 2), answer
    assert answer.error["code"] in ("disk_full", "data_error"), answer
    filler[0].unlink()
    again = run_with(Scripted(), small, *RUN[1:], "--max-ticks", "2")
    assert again.code == 0, again
    assert again.document["blocked_ticks"] == 0
    audit = small.ask("audit", "--kind", "reconcile.phase", "--limit", "1")
    assert audit[0]["data"]["phase"] == "consistent"
    states = {row["id"]: row["state"] for row in small.ask("status")["deployments"]}
    assert "running" not in states.values()
    journal = small.ask("journal", "btc_momentum", "--session", "1")["text"]
    assert "tick#2 " in journal
    assert not [path for path in small.agents.rglob("*.tmp")], "temporary files are left behind"


def test_a_read_only_workspace_is_named_and_left_alone(small: Product) -> None:
    small.ask("wallet", "new", "btc_momentum")
    mount = str(small.root.parent)
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
    try:
        for arguments in (
            ("run", "btc_momentum", "--mode", "dry-run", "--replay", BTC),
            ("wallet", "new", "w"),
            ("config", "set", "paper.cash", "5"),
        ):
            answer = small.here(*arguments, "--json")
            assert (answer.code, answer.error["code"]) == (2, "data_error"), answer
            assert str(small.root) in answer.error["message"]
            assert answer.error["hint"]
            _clean(answer)
        for arguments in (("status",), ("wallet", "show", "btc_momentum"), ("fills",), ("data", "list"), ("agent", "list")):
            answer = small.here(*arguments, "--json")
            _clean(answer)
            assert answer.code == 0 or "writable" in answer.error["hint"], answer
        refused = small.here("fills", "--json").error
        assert "file system is read-only" in refused["message"] and f"cp -r {small.root} COPY" in refused["hint"]
    finally:
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
    assert small.run(*RUN, "--max-ticks", "1", "--json").code == 0


def test_a_ledger_that_is_written_through_another_mount_is_read_as_it_is_now(small: Product, tmp_path: Path) -> None:
    small.ask("wallet", "new", "first")
    seen = tmp_path / "seen"
    seen.mkdir()
    subprocess.run(["mount", "--bind", str(small.root), str(seen)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(seen)], check=True)
        reader = Product(seen)
        assert "read-only" in reader.here("wallet", "list", "--json").error["message"], "nobody has it open, and somebody may at any time"
        with closing(open_ledger(small.ledger_file)) as ledger, ledger.reading():
            for name in ("second", "third"):
                small.ask("wallet", "new", name)
                assert name in {row["name"] for row in reader.ask("wallet", "list")}
    finally:
        subprocess.run(["umount", "--lazy", str(seen)], check=True)


def test_a_file_size_limit_is_an_error_like_a_full_disk(template: Path, tmp_path: Path) -> None:
    product = copied(template, tmp_path / "ws")
    product.ask("wallet", "new", "btc_momentum")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    answer = product.run(*RUN, "--max-ticks", "40", "--json", preexec_fn=limit)
    _clean(answer)
    assert answer.code != 0
    assert answer.error["code"] in ("disk_full", "data_error"), answer
    again = product.run(*RUN, "--max-ticks", "2", "--json")
    assert again.code == 0, again
    assert again.document["blocked_ticks"] == 0


def _clean(answer: Answer) -> None:
    for trace in ("Traceback", "a defect in tradeagent"):
        assert trace not in answer.out + answer.err, answer


def _broken_once(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> list[bool]:
    """Let the next call of a writing function fail as on a full disk, once `armed` holds True."""
    armed: list[bool] = []
    real = getattr(importlib.import_module(module), name)

    def broken(*arguments: Any, **options: Any) -> Any:
        if armed and armed.pop():
            raise disk_error(Path("somewhere"), OSError(errno.ENOSPC, "No space left on device"))
        return real(*arguments, **options)

    monkeypatch.setattr(f"{module}.{name}", broken)
    return armed


def test_the_texts_of_a_tick_that_a_full_disk_kept_from_being_written_are_there_after_the_next_start(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = _broken_once(monkeypatch, "tradeagent.agents.journal", "try_replace")
    ticks = [[("update_canvas", {"thesis": f"thesis of tick {number}"})] for number in (1, 2, 3)]
    model = Scripted(*ticks, when_asked=lambda tick: armed.append(True) if tick == 2 else None)
    assert run_with(model, product, *RUN[1:], "--max-ticks", "3").document["ticks"] == 3
    assert [incident["code"] for incident in product.ask("incidents")] == ["tick_failed"]
    session = product.agents / "btc_momentum" / "sessions" / "session_1"
    assert "tick#2 " not in (session / "journal.md").read_text()
    assert run_with(Scripted(), product, *RUN[1:], "--max-ticks", "1").code == 0
    journal = (session / "journal.md").read_text()
    assert [line[:8] for line in journal.split("\n") if line.startswith("- tick#")] == ["- tick#1", "- tick#2", "- tick#3"]
    assert sorted(path.name for path in (session / "snapshots").iterdir()) == [f"snapshot_{number}.md" for number in (1, 2, 3)]
    assert "thesis of tick 3" in (session / "canvas.md").read_text(), "what came later stays"
    assert "completed" in journal.split("## Decisions")[0]
    before = {path: path.read_bytes() for path in session.rglob("*") if path.is_file()}
    assert run_with(Scripted(), product, *RUN[1:], "--max-ticks", "1").code == 0
    assert {path: path.read_bytes() for path in session.rglob("*") if path.is_file()} == before


def test_a_start_that_a_full_disk_broke_keeps_no_directive_and_its_status_is_told_later(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_with(Scripted(), product, *RUN[1:], "--max-ticks", "1").code == 0
    product.ask("directive", "btc_momentum", "stay small")
    armed = _broken_once(monkeypatch, "tradeagent.runtime.repair", "write_status")
    armed.append(True)
    assert run_with(Scripted(), product, *RUN[1:], "--max-ticks", "1").error["code"] == "disk_full"
    model = Scripted()
    assert run_with(model, product, *RUN[1:], "--max-ticks", "1").code == 0
    assert "stay small" in model.prompts[0]
    told = {path.parent.name: json.loads(path.read_text())["state"] for path in product.agents.rglob("status.json")}
    assert told == {"session_1": "completed", "session_2": "error", "session_3": "completed"}
