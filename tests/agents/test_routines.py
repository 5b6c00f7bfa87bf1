"""Routines: which file counts, what they see, what they can take and reach, and how often a broken one is named."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradeagent.agents.routines import Routines, Sight
from tradeagent.algos.sandbox import Limits
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError, TradeAgentError
from tradeagent.market.series import BarSeries

MINUTE = 60_000
COUNT = 120
HEAD = '''"""Range of the newest bars."""
import numpy as np
from pydantic import BaseModel, Field
from tradeagent.agents.routines import RoutineResult


class Config(BaseModel):
    bars: int = Field(default=20, ge=2, le=500, description="how many")


async def run(config, context):
'''


def sight(count: int = COUNT) -> Sight:
    close = np.arange(count) + 100.0
    bars = BarSeries("hyperliquid", "BTC", MINUTE, np.arange(count) * MINUTE, close, close + 1, close - 1, close, np.ones(count))
    return Sight(count * MINUTE, "holder", {"risk": "0.1"}, MINUTE, {"BTC": bars}, {"BTC": [(0, 0.00125)]})


class Shelf:
    """Two folders of routines, the agent's before the workspace's."""

    def __init__(self, root: Path) -> None:
        self.near, self.far = root / "agent", root / "workspace"
        for folder in (self.near, self.far):
            folder.mkdir()
        self.routines = Routines((self.near, self.far), limits=Limits(cpu_s=1, wall_s=60))

    def write(self, name: str, body: str, *, far: bool = False, head: str = HEAD) -> Path:
        path = (self.far if far else self.near) / f"{name}.py"
        path.write_text(head + "".join(f"    {line}\n" for line in body.split("\n")))
        return path

    def run(self, name: str, **config: Any) -> dict[str, Any]:
        return self.routines.run(name, config, sight())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_routine_sees_bars_funding_config_and_the_instant_and_gives_a_text_table_chart_and_sections(shelf: Shelf) -> None:
    shelf.write(
        "scan",
        "bars = context.bars['BTC']\n"
        "row = {'market': 'BTC', 'high': bars['high'][-config.bars:].max(), 'bars': len(bars['time'])}\n"
        "head = f'{context.agent} at {context.now_ms}, risk {context.configs[\"risk\"]}, {context.markets} of {context.interval_ms}'\n"
        "return RoutineResult(head, table=[row], chart=bars['close'][-2:], sections={'funding': str(context.funding['BTC'])})",
    )
    assert shelf.run("scan", bars=5) == {
        "text": f"holder at {COUNT * MINUTE}, risk 0.1, ['BTC'] of {MINUTE}",
        "table": [{"market": "BTC", "high": 220.0, "bars": COUNT}],
        "chart": [218.0, 219.0],
        "sections": {"funding": "[[0, 0.00125]]"},
    }
    shelf.write("word", "return 'one word'")
    assert shelf.run("word") == {"text": "one word"}
    assert shelf.run("scan", bars=5) == shelf.run("scan", bars=5)


def test_the_schema_is_what_its_config_says_and_other_values_are_refused_without_blame(shelf: Shelf) -> None:
    shelf.write("scan", "return str(config.bars)")
    assert shelf.routines.schema("scan")["properties"]["bars"] == {
        "default": 20, "description": "how many", "maximum": 500, "minimum": 2, "title": "Bars", "type": "integer",
    }  # fmt: skip
    for config, part in (({"bars": 1}, "config.bars: Input should be greater"), ({"bar": 5}, "no field 'bar'; there are bars")):
        with pytest.raises(InvalidInput, match=part):
            shelf.routines.run("scan", config, sight())
    assert shelf.routines.take_broken() == []


def test_the_nearer_one_hides_the_farther_and_an_underscore_hides_a_file(shelf: Shelf) -> None:
    shelf.write("both", "return 'near'")
    shelf.write("both", "return 'far'", far=True)
    shelf.write("only_far", "return 'far'", far=True)
    shelf.write("_private", "return 'no'")
    assert [one.name for one in shelf.routines.listed()] == ["both", "only_far"]
    assert shelf.run("both")["text"] == "near"
    with pytest.raises(NotFound, match="no routine 'only_fat'") as caught:
        shelf.run("only_fat")
    assert "only_far" in caught.value.hint


def test_an_edit_counts_at_once(shelf: Shelf) -> None:
    path = shelf.write("edited", "return 'old'")
    assert shelf.run("edited")["text"] == "old"
    shelf.write("edited", "return 'new'")
    os.utime(path, ns=(1, 1))
    assert shelf.run("edited")["text"] == "new"
    path.unlink()
    assert shelf.routines.listed() == ()


@pytest.mark.parametrize(
    ("body", "code", "part"),
    [
        ("return [][1]", "routine_broken", "line 12: IndexError"),
        ("import socket", "routine_broken", "import socket is not allowed"),
        ("return 7", "routine_broken", "gave int instead of a text"),
        ("return 'x' * 20_000", "routine_broken", "at most 12,000"),
        ("return RoutineResult(chart=[float('nan')])", "routine_broken", "no JSON"),
        ("while True: pass", "gate_failed", "1 s of CPU"),
        ("np.ones(10**10)", "gate_failed", "needs more than 1,024 MB"),
        ("open('/etc/passwd')", "gate_failed", "open() is not allowed"),
        ("np.__builtins__['open']('/etc/passwd').read()", "gate_failed", "Permission denied"),
        ("np.__builtins__['open']('x.pth', 'w')", "gate_failed", "Permission"),
        ("np.__builtins__['__import__']('socket').socket()", "gate_failed", "not permitted"),
        ("np.__builtins__['__import__']('os').fork()", "gate_failed", "not permitted"),
        ("np.__builtins__['__import__']('os').kill(np.__builtins__['__import__']('os').getppid(), 9)", "gate_failed", "not permitted"),
        ("np.__builtins__['__import__']('os').write(4, b'=' + bytes(8))", "routine_broken", "no answer"),
        ("np.__builtins__['__import__']('os')._exit(0)", "gate_failed", "left with 0"),
    ],
)  # fmt: skip
def test_a_broken_slow_huge_or_curious_one_is_named_to_whoever_asks_and_once_for_an_incident(
    shelf: Shelf, body: str, code: str, part: str
) -> None:
    shelf.write("bad", body)
    for _ in range(2):
        with pytest.raises((InvalidInput, RefusedError)) as caught:
            shelf.run("bad")
        assert caught.value.code == code
        assert part in caught.value.message and caught.value.message.startswith("routine bad")
        assert caught.value.hint
    [sentence] = shelf.routines.take_broken()
    assert part in sentence
    assert shelf.routines.take_broken() == []


def test_what_is_wrong_with_a_file_is_seen_without_running_it(shelf: Shelf) -> None:
    texts = {
        "syntax": '"""x"""\ndef (:\n',
        "bare": "x = 1\n",
        "plain_run": '"""x"""\nclass Config: pass\ndef run(config, context): return ""\n',
        "Bad Name": HEAD,
        "huge": HEAD + "#" * 70_000,
    }
    for name, text in texts.items():
        (shelf.near / f"{name}.py").write_text(text)
    (shelf.near / "binary.py").write_bytes(b"\xff\x00\xfe")
    (shelf.near / "folder.py").mkdir()
    found = {one.name: one.problem for one in shelf.routines.listed()}
    assert found["syntax"] == "line 2: invalid syntax"
    assert "a docstring and class Config and async def run" in found["bare"]
    assert "async def run" in found["plain_run"]
    assert all(found.values()), found
    assert len(shelf.routines.take_broken()) == len(found)
    for name in found:
        with pytest.raises(TradeAgentError):
            shelf.run(name)


def test_an_incident_comes_again_when_the_file_changed_and_is_still_wrong(shelf: Shelf) -> None:
    shelf.write("bad", "return [][1]")
    with pytest.raises(InvalidInput):
        shelf.run("bad")
    shelf.write("bad", "x = 1\nreturn [][1]")
    with pytest.raises(InvalidInput):
        shelf.run("bad")
    assert len(shelf.routines.take_broken()) == 2


def test_a_result_shows_no_hidden_characters(shelf: Shelf) -> None:
    shelf.write("hidden", "return 'a\\x1b[31mb\\u202ec'")
    assert json.dumps(shelf.run("hidden")) == '{"text": "a[31mbc"}'
