"""Every tool of both registries as a model meets it: a call that does what it is for, one that cannot be, and the answers, as golden files.

`TRADEAGENT_WRITE_GOLDEN=1` writes the files anew; read what has changed.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_stage import NOW, Stage, opened
from golden_calls import AGENT_PAIRS, DESK_PAIRS
from golden_play import agent_transcript, desk_transcript
from test_desk_research import FEED, PAGE, web

from tradeagent.hyperliquid.loopback import InfoServer, Served, recorded_answers
from tradeagent.tools.registry import DESK, TOOLS

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).with_name("golden")
START = "2025-07-26T04:30Z"
REGISTRIES = {"agent": TOOLS, "desk": DESK}
PAIRS = {"agent": AGENT_PAIRS, "desk": DESK_PAIRS}
# An agent's run is played over stored bars; the desk asks the same tools about now.
NOT_IN_A_REPLAY = {("agent", "get_orderbook"), ("agent", "get_open_interest")}
EVERY = [(who, name) for who, tools in REGISTRIES.items() for name in tools]


def kept(who: str) -> dict[str, str]:
    """The sections of a golden file, by tool."""
    file = GOLDEN / f"{who}_tools.md"
    parts = re.split(r"^## (\w+)\n\n", file.read_text() if file.exists() else "", flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def keep(who: str, played: dict[str, str]) -> None:
    sections = [f"## {name}\n\n{played[name]}\n" for name in REGISTRIES[who]]
    (GOLDEN / f"{who}_tools.md").write_text(f"# Every tool of the {who}, as a model meets it\n\n" + "\n".join(sections))


@pytest.fixture(scope="module")
def played(made: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """Both transcripts, each in a workspace of its own."""
    recorded = shared_data.parent / "fixtures" / "hyperliquid" / "info"
    if not recorded.is_dir():
        pytest.skip("no recorded answers of the venue")
    stages = {who: _copied(made, tmp_path_factory.mktemp(who) / "ws") for who in REGISTRIES}
    sides = [[{"px": "117500", "sz": "0.5", "n": 1}, {"px": "117499", "sz": "1", "n": 1}], [{"px": "117502", "sz": "2", "n": 1}]]
    answers = recorded_answers(recorded) | {"l2Book": {"coin": "BTC", "time": NOW, "levels": sides}}
    with InfoServer(Served(lambda: NOW, answers=answers)) as venue, web({"/": PAGE, "/rss": FEED}) as site:
        settings = {"hyperliquid.url": venue.url, "web.allowed_hosts": "127.0.0.1", "social.feeds.talk": f"{site}/rss"}
        found = {
            "agent": agent_transcript(stages["agent"], START),
            "desk": asyncio.run(desk_transcript(stages["desk"], settings, f"{site}/")),
        }
    for stage in stages.values():
        stage.ledger.close()
    if os.environ.get("TRADEAGENT_WRITE_GOLDEN"):
        for who, sections in found.items():
            keep(who, sections)
    yield found


def _copied(made: Path, root: Path) -> Stage:
    shutil.copytree(made, root)
    return opened(root)


@pytest.mark.parametrize(("who", "tool"), EVERY)
def test_a_tool_answers_as_in_its_golden_transcript(played: dict[str, dict[str, str]], who: str, tool: str) -> None:
    assert played[who][tool] == kept(who)[tool]


@pytest.mark.parametrize("who", REGISTRIES)
def test_every_tool_is_in_the_golden_file_with_a_good_call_and_a_bad_one(who: str) -> None:
    assert [pair.tool for pair in PAIRS[who]] == list(dict.fromkeys(pair.tool for pair in PAIRS[who]))
    assert set(kept(who)) == set(REGISTRIES[who]) == {pair.tool for pair in PAIRS[who]}
    for tool, text in kept(who).items():
        good, bad = (json.loads(answer) for answer in re.findall(r"^```json\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL))
        assert is_answer(good) or (who, tool) in NOT_IN_A_REPLAY, tool
        assert not is_answer(bad), tool
        if "error" in bad:
            assert bad["error"]["code"] != "internal" and bad["error"]["message"] and bad["error"]["hint"], tool


def is_answer(content: dict[str, Any]) -> bool:
    """Whether something was done or told; a draft takes what is wrong and says so of its part."""
    states = {chip["state"] for chip in content.get("chips", {}).values()}
    return "error" not in content and content.get("verdict") != "rejected" and "invalid" not in states
