"""The table of the 84 cases is whole and true: every id once, every test that is named exists and is collected."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from agent_play import play
from books_of_agent import over_caps
from foe import Case, Foe, Script, entry, price_of
from table import CASES, GROUPS, TABLE

ROOT = Path(__file__).resolve().parents[2]


def test_each_of_the_84_cases_is_in_the_table_once() -> None:
    assert sorted(row.id for row in TABLE) == sorted(
        f"{group}{number}" for group, count in GROUPS.items() for number in range(1, count + 1)
    )
    assert len(TABLE) == 84
    assert all(row.reason for row in TABLE if row.status == "not yet")
    assert {row.status for row in TABLE} <= {"played", "covered", "not yet"}
    print(Counter(row.status for row in TABLE))


def test_every_test_that_covers_a_case_is_collected() -> None:
    named = sorted({test for row in TABLE for test in row.by})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    collected = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert set(named) <= collected


def test_what_is_played_is_told_apart() -> None:
    assert len({(case.id, case.stage, case.title) for case in CASES}) == len(CASES)


# --- the checker finds what it is there to find -------------------------------------------------------------------------------


def _buys(foe: Foe) -> Script:
    price = yield from price_of()
    yield [entry(price, quote="95")]


def _tampers(how: str) -> Case:
    def after(attack: object) -> None:
        root = attack.product.root  # type: ignore[attr-defined]
        if how == "file":
            (root / "config.yml").write_text((root / "config.yml").read_text() + "\n# mine now\n")
        elif how == "neighbour":
            (root.parent / "neighbour.txt").unlink()

    def script(foe: Foe) -> Script:
        yield from _buys(foe)

    return Case("A0", how, script, after=after, sees=frozenset({"SINGLE_ORDER"} if how == "code" else ()))


def test_a_code_that_the_model_was_not_told_is_a_breach(template: Path, tmp_path: Path) -> None:
    found = play(_tampers("code"), template, tmp_path / "place").breaches
    assert found == ["A0 loop seed 1: the model was not told SINGLE_ORDER, but []"]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE positions SET size = '0.01', cost = '800' WHERE controller_id = ''", "max_position_size_quote"),
        ("UPDATE orders SET size = '0.01' WHERE leg = 'entry'", "max_single_order_quote"),
        ("UPDATE orders SET state = 'cancelled' WHERE leg = 'stop'", "stops cover 0"),
        ("UPDATE orders SET reduce_only = 0 WHERE leg = 'stop'", "does not only reduce"),
        ("UPDATE orders SET trigger = '60000' WHERE leg = 'stop'", None),
        ("UPDATE orders SET market = 'HYPE'", "none of the agent's markets"),
    ],
)
def test_what_is_over_a_cap_is_found(template: Path, tmp_path: Path, statement: str, says: str | None) -> None:
    import sqlite3

    seen: list[str] = []

    def after(attack: object) -> None:
        ledger = attack.ledger  # type: ignore[attr-defined]
        assert over_caps(ledger) == []
        with sqlite3.connect(ledger) as change:
            change.execute(statement)
        seen.extend(over_caps(ledger))

    assert play(Case("A0", "buys", _buys, after=after), template, tmp_path / "place").breaches == []
    if says is None:
        assert any("max_portfolio_risk_quote" in line for line in seen), seen
    else:
        assert any(says in line for line in seen), seen
