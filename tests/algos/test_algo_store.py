"""Saved algos: versions that never change, a lineage that stays, and every way to name one."""

from pathlib import Path

import pytest

from tradeagent.algos import catalogue
from tradeagent.algos.store import find, from_file, hash_of, names_of, save
from tradeagent.domain.errors import InvalidConfig, InvalidInput, NotFound, UnknownKey
from tradeagent.ledger import algos as rows
from tradeagent.ledger.store import Ledger, create_ledger

ONE = 'name: mine\ndirection: long\nentry: {long: {required: ["close > open"]}}\n'
TWO = ONE.replace("close > open", "close < open")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return create_ledger(tmp_path / "ledger.sqlite")


def test_versions_count_up_and_never_change(ledger: Ledger) -> None:
    first = save(ledger, "mine", ONE, 1000, note="first")
    second = save(ledger, "mine", TWO, 2000)
    assert (first.version, second.version) == (1, 2) and first.hash != second.hash
    assert find(ledger, "mine").spec.text == TWO and find(ledger, "mine@1").spec.text == ONE
    assert find(ledger, "mine@1").hash == first.hash
    with ledger.reading() as tx:
        kept = rows.versions(tx, "mine")
    assert [(row.version, row.note, row.created_ms, row.kind) for row in kept] == [(2, "", 2000, "yaml"), (1, "first", 1000, "yaml")]


def test_the_same_text_is_the_same_version(ledger: Ledger) -> None:
    save(ledger, "mine", ONE, 1000)
    save(ledger, "mine", TWO, 2000)
    again = save(ledger, "mine", ONE.replace("\n", "  \r\n") + "\n\n", 3000)
    assert again.version == 1 and find(ledger, "mine").version == 2


def test_the_lineage_of_the_first_version_stays(ledger: Ledger) -> None:
    save(ledger, "mine", ONE, 1000, lineage="idea")
    save(ledger, "mine", TWO, 2000, lineage="another")
    assert {find(ledger, ref).lineage for ref in ("mine", "mine@1", "mine@2")} == {"idea"}


def test_a_saved_algo_carries_the_name_it_was_saved_under(ledger: Ledger) -> None:
    save(ledger, "other", ONE, 1000)
    assert find(ledger, "other").spec.name == find(ledger, "other").name == "other"


def test_a_file_keeps_its_own_name_as_lineage_and_the_hash_of_its_text(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "draft.yml"
    file.write_text(ONE)
    found = find(ledger, str(file))
    assert (found.name, found.version, found.lineage, found.hash) == ("mine", None, "mine", hash_of(ONE))
    assert save(ledger, "kept", ONE, 1, lineage=found.lineage).hash == found.hash, "its trials go on counting"


def test_a_python_file_is_an_algo_without_levels(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "turn.py"
    file.write_text("def signals(bars, **params):\n    return bars['close'] * 0\n")
    found = find(ledger, str(file))
    assert found.name == "turn" and found.spec.python == file.read_text() and found.spec.long and found.spec.short
    saved = save(ledger, "turn", found.spec.text, 1, kind="python")
    assert find(ledger, "turn@1").spec.python == found.spec.python and saved.hash == found.hash
    file.write_text("def signals(bars:\n")
    with pytest.raises(InvalidConfig, match=r"turn\.py:1: "):
        from_file(file)
    file.write_text("def signal(bars):\n    return 0\n")
    with pytest.raises(InvalidConfig, match="no function `signals`"):
        from_file(file)
    file.write_text("def signals(bars):\n    import os\n    return bars['close'] * 0\n")
    with pytest.raises(InvalidConfig, match=r"turn\.py:2: import os is not allowed"):
        from_file(file)
    with pytest.raises(InvalidConfig, match="import os"):
        save(ledger, "outward", file.read_text(), 1, kind="python")
    assert "outward" not in names_of(ledger)
    file.write_text("(" * 3000)
    with pytest.raises(InvalidConfig):
        from_file(file)


@pytest.mark.parametrize(
    "imports",
    ["from collections import deque", "import numpy.linalg, math", "try:\n    import talib\nexcept Exception:\n    talib = None"],
)
def test_a_python_file_may_import_what_the_sandbox_gives_and_try_what_it_may_lack(imports: str, tmp_path: Path) -> None:
    file = tmp_path / "turn.py"
    file.write_text(f"{imports}\ndef signals(bars):\n    return bars['close'] * 0 + {'+'.join(['1'] * 900)}\n")
    assert from_file(file).spec.python


@pytest.mark.parametrize(
    ("imports", "named"),
    [("import math, sys", "sys"), ("from os.path import join", "os.path"), ("from . import x", "."), ("import os", "os")],
)
def test_an_import_that_the_sandbox_refuses_is_named_with_its_line(imports: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "turn.py"
    file.write_text(f"import numpy\n\n{imports}\ndef signals(bars):\n    import subprocess\n")
    with pytest.raises(InvalidConfig) as wrong:
        from_file(file)
    assert wrong.value.message.endswith(f":3: import {named} is not allowed") and "numpy" in wrong.value.hint


def test_names_that_are_not_there_name_the_nearest(ledger: Ledger, tmp_path: Path) -> None:
    save(ledger, "mine", ONE, 1)
    for ref, hint in (("mone", "did you mean 'mine'?"), ("sma_cros", "did you mean 'sma_cross'?"), ("mine@3", "algo versions mine")):
        with pytest.raises(NotFound) as caught:
            find(ledger, ref)
        assert hint in caught.value.hint
    with pytest.raises(NotFound):
        find(ledger, str(tmp_path / "none.yml"))
    for ref in ("mine@x", "mine@", "mine@-1"):
        with pytest.raises(InvalidInput):
            find(ledger, ref)
    with pytest.raises(NotFound):
        find(ledger, "mine@" + "9" * 400)


def test_what_cannot_be_read_is_said_plainly(tmp_path: Path) -> None:
    file = tmp_path / "binary.yml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="cannot be read as text"):
        from_file(file)
    file.write_bytes(b"a" * (1024 * 1024 + 1))
    with pytest.raises(InvalidConfig, match="over 1024 KiB"):
        from_file(file)
    (tmp_path / "folder.yml").mkdir()
    with pytest.raises(InvalidInput, match="no regular file"):
        from_file(tmp_path / "folder.yml")


@pytest.mark.parametrize("name", ["sma_cross", "dual_rsi", "a b", "", "x" * 49, "é", "a@1", "../a"])
def test_a_name_that_is_taken_or_none_is_refused(ledger: Ledger, name: str) -> None:
    with pytest.raises(InvalidInput):
        save(ledger, name, ONE, 1)


def test_a_wrong_text_is_never_saved(ledger: Ledger) -> None:
    with pytest.raises(UnknownKey):
        save(ledger, "mine", ONE + "colour: red\n", 1)
    assert list(names_of(ledger)) == list(catalogue.texts())


def test_built_ins_are_found_by_name(ledger: Ledger) -> None:
    assert find(ledger, "breakout").lineage == "breakout"
    with pytest.raises(NotFound):
        find(ledger, "breakout@1")
