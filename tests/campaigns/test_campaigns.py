"""Every campaign in small, through its command: figures on one line, no violation, and an exit code that tells."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from arena import Arena, blows_at
from books import audit
from exactly_once import FIRST, UNANSWERED, Point, Strike, enter, struck
from figures import Figures
from nemesis import Fault
from nonces import falls
from proposers import over_caps
from tool_calls import _problems

from tradeagent.brokers.paper import PaperBroker
from tradeagent.domain.order import OrderReport, OrderRequest
from tradeagent.tools.registry import DESK, TOOLS

ROOT = Path(__file__).resolve().parents[2]


def play(name: str, size: int, *more: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.campaigns", name, "--size", str(size), "--json", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    document: dict[str, object] = json.loads(done.stdout)
    print(document)
    assert document["violations"] == []
    counts = document["counts"]
    assert isinstance(counts, dict)
    return counts


@pytest.mark.slow
def test_a_thousand_crashes_and_faults_leave_every_order_once_and_no_fill_behind() -> None:
    counts = play("exactly_once", 1000)
    assert counts["points"] == 1000 and counts["killed"] >= 350
    assert counts["duplicates"] == counts["lost"] == counts["differences"] == counts["left"] == 0


@pytest.mark.slow
def test_a_short_walk_over_the_machine_breaks_no_invariant() -> None:
    counts = play("machine", 300)
    assert counts["steps"] == 300 and counts["fills"] and counts["positions covered"]


@pytest.mark.slow
def test_fifty_proposers_at_once_stay_under_the_caps() -> None:
    counts = play("proposers", 20)
    assert counts["schedules"] == 20 and counts["over cap"] == 0
    assert counts["admitted"] and counts["unknown"] and counts["capped"], "the schedules reach the caps and the faults"


@pytest.mark.slow
def test_racing_starts_have_one_owner_each_also_after_a_kill() -> None:
    counts = play("start_races", 7)
    assert counts["owners"] == counts["races"] == 7 and counts["after kill -9"] == 2 and counts["busy"]


@pytest.mark.slow
def test_no_entry_of_a_real_door_reaches_the_venue_after_its_latch_was_reported() -> None:
    counts = play("kill_latch", 80)
    assert counts["races"] == 80 and counts["entries after"] == 0
    assert counts["frozen in the ledger"] == 4 and counts["frozen at the venue"] == 2
    for word in ("entries shortly before", "entries awaited", "refused at the gate"):
        assert counts[word], f"the races never came near the latch: {word}"
    assert counts["exits after"], "a latch stops no exit"
    assert counts["slowest latch ms"] < 1000


NO_DRAIN = "latch.drain = lambda *_: []"
NO_GATE = "latch.Gate.sending = lambda self, *, reduces: nullcontext()"


@pytest.mark.slow
@pytest.mark.parametrize("broken", [NO_DRAIN, NO_GATE], ids=["a kill that waits for nobody", "an engine that sends outside the gate"])
def test_the_races_find_a_latch_that_does_not_hold(broken: str) -> None:
    program = (
        "from contextlib import nullcontext; import tests.campaigns.__main__, kill_latch; from tradeagent.workspace import latch; "
        f"{broken}; print(kill_latch.run(size=60).document())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    print(document)
    assert document["counts"]["entries after"] > document["counts"]["frozen at the venue"], "also in races where nobody was frozen"
    assert any("reached the venue" in line for line in document["violations"])


@pytest.mark.slow
def test_a_broken_disk_never_sends_what_is_not_written_down() -> None:
    counts = play("disk", 150)
    assert counts["points"] == 150 and counts["told"] and counts["flattened"]
    assert counts["then killed"], "where only the ledger cannot be written, kill gets flat"
    assert counts["said why not"] == counts["then killed"] + counts["nor can the venue write"]


@pytest.mark.slow
def test_two_thousand_broken_tool_calls_crash_nothing_and_dispatch_nothing_invalid() -> None:
    counts = play("tool_calls", 2000)
    assert counts["calls"] >= 2000
    assert counts["agent dispatched"] and counts["desk dispatched"] and counts["refused"], "some of the calls are still valid, most are not"
    assert counts["tools"] == len(TOOLS | DESK)


@pytest.mark.slow
def test_nonces_that_eight_processes_take_rise_in_the_order_of_their_commits() -> None:
    counts = play("nonces", 250)
    assert counts["nonces"] == counts["distinct"] == 2000 and counts["turns"] > 8, "the processes took them in turns"


def test_a_nonce_that_is_not_above_the_one_before_is_found() -> None:
    assert list(falls([(0, 5), (1, 6), (1, 9), (0, 7), (1, 7)])) == [
        "nonce 7 of process 0 was committed after nonce 9 of process 1",
        "nonce 7 of process 1 was committed after nonce 7 of process 0",
    ]


def test_the_reader_of_tool_calls_finds_what_no_handler_may_get() -> None:
    good = '"market": "BTC", "quote": 5'
    for bad in ('"side": "hold"', '"side": "buy", "market": "ETH"', '"side": "buy", "mode": "live"', '"side": "buy", "stop": [1]'):
        assert list(_problems(TOOLS["propose_order"], f"{{{good}, {bad}}}")), bad
    for bad in ('"quote": -5', '"quote": {}'):
        assert list(_problems(TOOLS["propose_order"], f'{{"market": "BTC", "side": "buy", {bad}}}')), bad
    good += ', "side": "buy"'
    assert list(_problems(TOOLS["propose_order"], f"[{{{good}}}]")) == ["no object"]
    assert list(_problems(TOOLS["propose_order"], '{"side": "buy", "quote": 5}')) == ["market is missing"]
    assert list(_problems(TOOLS["propose_order"], f"{{{good}}}")) == []


def test_an_unknown_campaign_is_refused_and_the_names_are_told() -> None:
    command = [sys.executable, "-m", "tests.campaigns", "exactly_twice"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "exactly_once" in done.stderr


def test_a_violation_is_counted_and_told() -> None:
    figures = Figures("a", 3)
    figures.count("points", 2)
    figures.violations.append("seed 3: lost")
    assert figures.line().startswith("a: points 2, violations 1 (seed 3, ")
    assert json.loads(figures.document())["violations"] == ["seed 3: lost"]


def test_every_boundary_has_its_blows() -> None:
    for boundary in ("begin", "commit", "committed", "place", "cancel", "set_leverage", "account", "order_status", "activity_since"):
        assert any(blow.dies for blow in blows_at(boundary))
    assert {blow.fault for blow in blows_at("place")} >= {Fault.LOST, Fault.UNANSWERED, Fault.LATE, Fault.TWICE}


# --- the checkers find what they are there to find ----------------------------------------------------------------------------


def test_the_checker_finds_an_order_that_was_sent_again_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, count = PaperBroker.place, iter(range(100))

    def twice(self: PaperBroker, orders: list[OrderRequest]) -> list[OrderReport]:
        answer = place(self, orders)
        place(self, [type(o)(**{n: getattr(o, n) for n in o.__slots__} | {"cloid": f"0xagain{next(count)}"}) for o in orders[:1]])
        return answer

    arena = Arena(tmp_path / "a")
    monkeypatch.setattr(PaperBroker, "place", twice)
    enter("buy", "BTC", "2", protected=False)(arena)
    assert any(line.startswith(("duplicate", "lost", "differ")) for line in audit(arena.root))
    arena.done()


def test_the_checker_finds_a_fill_that_is_not_booked(tmp_path: Path) -> None:
    arena = Arena(tmp_path / "a")
    FIRST[0](arena)
    assert audit(arena.root) == []
    with arena.ledger.transaction() as tx:
        tx.exec_driver_sql("DELETE FROM fills")
    assert any(line.startswith("lost: fill") for line in audit(arena.root))
    arena.done()


def test_the_checker_finds_a_reservation_and_an_intent_that_are_left(tmp_path: Path) -> None:
    arena = Arena(tmp_path / "a")
    FIRST[0](arena)
    with arena.ledger.transaction() as tx:
        tx.exec_driver_sql("UPDATE reservations SET active = 1")
        tx.exec_driver_sql("UPDATE intents SET state = 'sent'")
    assert sum(line.startswith("left: ") for line in audit(arena.root)) == 2
    arena.done()


@pytest.mark.slow
def test_kernel_and_door_trade_random_algos_alike() -> None:
    counts = play("parity", 12)
    assert counts["algos"] >= 12
    assert counts["trades"] > 0


def test_the_sums_find_what_is_over_a_cap(tmp_path: Path) -> None:
    arena = Arena(tmp_path / "a")
    enter("buy", "BTC", "21", protected=False)(arena)
    found = "\n".join(over_caps(arena.root))
    assert "max_position_pct" in found and "max_position_size_quote" in found and "max_single_order_quote" in found
    arena.done()


def test_a_lost_answer_is_a_blow_that_is_survived(tmp_path: Path) -> None:
    save = Arena(tmp_path / "a").save()
    place = next(n for n, name in enumerate(_boundaries(tmp_path / "b"), 1) if name == "place")
    arena = Arena(tmp_path / "c", save=save)
    assert struck(arena, save, FIRST[0], Point("", Strike(place, UNANSWERED))) == []
    assert arena.edge is not None and not arena.held()
    arena.done()


LIFE = """
import os, sys
from pathlib import Path
import tests.campaigns.__main__
from arena import LEDGER_BLOWS, Arena
from exactly_once import FIRST, Strike, under

root = Path(sys.argv[1])
arena = Arena(root / "world")
arena.lay(Arena(root / "saved").save())

def life():
    (root / "open").write_text("\\n".join(os.path.realpath(f"/dev/fd/{name}") for name in os.listdir("/dev/fd")))
    arena.begin()
    try:
        under(Strike(int(sys.argv[2]), LEDGER_BLOWS["commit"][0]), arena, lambda: FIRST[0](arena))
    finally:
        (root / "farewell").touch()

arena.kill(life)
"""


@pytest.mark.parametrize(("boundary", "intents"), [(1, 0), (2, 0), (3, 1)])
def test_who_dies_is_killed_with_nothing_said_or_closed(tmp_path: Path, boundary: int, intents: int) -> None:
    """Before a transaction, before its commit, and after that."""
    assert _boundaries(tmp_path / "quiet")[:3] == ["begin", "commit", "committed"]
    done = _lived(tmp_path, boundary)
    assert done.returncode == 0, done.stderr
    assert ".db" not in (tmp_path / "open").read_text(), "its parent had a database open"
    assert not (tmp_path / "farewell").exists()
    assert (tmp_path / "world" / "ledger.db-wal").stat().st_size > 0
    with closing(sqlite3.connect(tmp_path / "world" / "ledger.db")) as ledger:
        assert ledger.execute("SELECT count(*) FROM intents").fetchone() == (intents,)


def test_a_life_that_was_not_killed_is_no_point(tmp_path: Path) -> None:
    done = _lived(tmp_path, 10_000)
    assert "not killed: boundary 10000 is not among ['begin', " in done.stderr and (tmp_path / "farewell").exists()


def _lived(root: Path, boundary: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", LIFE, str(root), str(boundary)], cwd=ROOT, capture_output=True, text=True, check=False)


def _boundaries(root: Path) -> list[str]:
    arena = Arena(root)
    with arena.counting() as boundaries:
        FIRST[0](arena)
    arena.done()
    return boundaries.seen
