"""Keys planted wherever the product takes one, then a day of use with everything that can go wrong: not one of them is found anywhere."""

import base64
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from canaries import Canary, found_below, found_in
from loopback import END, ROLE, Loopback, Reply, chunk, failure, text_reply, tool_piece
from product import BTC, Answer, Product, copied

from tradeagent.tools.registry import DESK, TOOLS

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent
CANARIES = tuple(
    Canary(name, f"{prefix}{name}+/=?{number}f7c21b6e94a58d03")
    for number, (name, prefix) in enumerate(
        {
            "OPENAI_API_KEY": "sk-",
            "MY_MODEL_KEY": "",
            "RING_KEY": "ring",
            "CRYPTOPANIC_KEY": "cp",
            "TIINGO_KEY": "ti",
            "NOTES_TOKEN": "mcp",
            "PHONE_URL": "tgram",
            "HL_AGENT_KEY": "0x",
            "ANTHROPIC_API_KEY": "sk-ant-",
        }.items()
    )
)
BY_NAME = {canary.name: canary.value for canary in CANARIES}
SETTINGS = {
    "models.openai/scripted.api_key": "env:MY_MODEL_KEY",
    "models.openai/desk.api_key": "keyring:desk",
    "news.cryptopanic.api_key": "env:CRYPTOPANIC_KEY",
    "news.tiingo.api_key": "env:TIINGO_KEY",
    "mcp_servers.notes.env.NOTES_TOKEN": "env:NOTES_TOKEN",
}
# A keyring of this test's own, found by the library's own setting.
RING = f"""
import keyring.backend
class Ring(keyring.backend.KeyringBackend):
    priority = 9
    def get_password(self, service, username):
        return {BY_NAME["RING_KEY"]!r} if (service, username) == ("tradeagent", "desk") else None
    def set_password(self, service, username, password):
        raise NotImplementedError
    def delete_password(self, service, username):
        raise NotImplementedError
"""
# A server of the protocol that says its secrets and dies.
NOTES = "import os, sys; sys.stderr.write(repr(dict(os.environ))); sys.exit(3)"
SHOWN = (
    ("doctor",),
    ("config", "show", "--origin"),
    ("incidents",),
    ("audit", "--limit", "1000"),
    ("logs",),
    ("status",),
    ("agent", "show", "btc_momentum"),
    ("snapshots", "btc_momentum"),
    ("journal", "btc_momentum"),
    ("usage",),
    ("jobs", "list"),
    ("token", "list"),
    ("mcp", "list"),
    ("mcp", "test", "notes"),
    ("news", "fetch"),
    ("sessions", "list"),
    ("limits", "btc_momentum"),
)


def _calls(*calls: tuple[str, dict[str, Any]]) -> Reply:
    pieces = [tool_piece(index, json.dumps(arguments), name, f"call_{index}") for index, (name, arguments) in enumerate(calls)]
    return Reply((ROLE, *pieces, chunk({}, "tool_calls"), chunk(usage=(1000, 50)), END))


def _echo(*names: str) -> Reply:
    """A provider that says the key it was sent, and one that this process has besides."""
    return failure(401, "Incorrect API key provided: " + " ".join(BY_NAME[name] for name in names))


BUY = {"market": "BTC", "side": "buy", "quote": "90", "stop": "80000", "target": "99000", "reason": "the script says so"}
LOOK = [("get_ticker", {"market": "BTC"}), ("journal_action", {"action": "hold", "reasoning": "$OPENAI_API_KEY ${MY_MODEL_KEY}"})]
OPTIMIZE = {
    **{"algo": "sma_cross", "market": "BTC", "interval": "1h", "start": "2025-04-01", "end": "2025-06-01", "trials": 4},
    **{"space": ["fast=5..10"], "wait_s": 60},
}


def _prepared(template: Path, place: Path, url: str) -> Product:
    place.mkdir()
    (place / "canary_ring.py").write_text(RING)
    (place / "notes.py").write_text(NOTES)
    env = {key: value for key, value in BY_NAME.items() if key != "RING_KEY"} | {
        "PYTHONPATH": str(place),
        "PYTHON_KEYRING_BACKEND": "canary_ring.Ring",
        "HOME": str(place / "home"),
    }
    product = Product(copied(template, place / "ws").root, env)
    product.rewrite("btc_momentum", ("model: offline/momentum", "model: openai/scripted"))
    command = f"{sys.executable} {place / 'notes.py'}"
    addresses = {f"models.openai/{name}.base_url": url for name in ("scripted", "desk", "plain")}
    closed = {
        "news.cryptopanic.url": "http://127.0.0.1:9/",
        "news.tiingo.url": "http://127.0.0.1:9/",
        "hyperliquid.url": "http://127.0.0.1:9",
    }
    for key, value in {**SETTINGS, **addresses, **closed, "mcp_servers.notes.command": command}.items():
        product.ask("config", "set", key, value)
    return product


def test_no_canary_is_found_anywhere(template: Path, tmp_path: Path) -> None:
    answers: list[tuple[str, Answer]] = []

    def seen(*words: str, here: bool = False) -> Answer:
        answer = product.here(*words) if here else product.run(*words)
        answers.append((" ".join(words), answer))
        return answer

    replies = (
        *(
            _calls(("propose_order", BUY), *LOOK),
            text_reply("bought"),
            _calls(*LOOK),
            text_reply("holding"),
            _echo("MY_MODEL_KEY", "OPENAI_API_KEY"),
        ),
        *(
            _calls(("get_ticker", {"market": "BTC"}), ("find_tools", {"query": "optimize"})),
            _calls(("optimize", OPTIMIZE)),
            text_reply("done"),
        ),
        *(
            _echo("RING_KEY"),
            text_reply("plain"),
            _echo("OPENAI_API_KEY", "HL_AGENT_KEY"),
            _calls(*LOOK),
            text_reply("survived"),
            _calls(("get_ticker", {"market": "BTC"})),
            text_reply("end"),
        ),
    )
    with Loopback(*replies) as server:
        product = _prepared(template, tmp_path / "place", server.url)
        token = json.loads(product.run("token", "new", "--scope", "read", "--json").out)["token"]
        ran = seen("run", "btc_momentum", "--replay", BTC, "--max-ticks", "3", "--json")
        assert ran.code == 0 and ran.document["executed"] == 1, ran
        talked = seen("chat", "optimize sma_cross", "--model", "openai/desk", "--mode", "research", "--json")
        assert talked.code == 0 and "optimize" in [call["name"] for call in talked.document["tool_calls"]], talked
        assert seen("chat", "again", "--session", "last", "--json").code == 5
        assert seen("chat", "plainly", "--model", "openai/plain", "--verbose", here=True).code == 0
        assert seen("chat", "and again", "--session", "last", "--verbose", here=True).code == 5
        with mock.patch.dict(TOOLS, {"get_ticker": replace(TOOLS["get_ticker"], handler=_crashes)}):
            crashed = seen("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1", "--verbose", here=True)
        assert "internal" in str(server.bodies[-1]["messages"]), crashed
        with mock.patch.dict(DESK, {"get_ticker": replace(DESK["get_ticker"], handler=_crashes)}):
            seen("chat", "price?", "--model", "openai/plain", "--mode", "coach", here=True)
        for words in SHOWN:
            seen(*words, here=True)
            seen(*words, "--json", here=True)
        seen("doctor")
        out = tmp_path / "place" / "out"
        assert seen("export", str(out)).code == 0
        bodies = [json.dumps(body, ensure_ascii=False).encode() for body in server.bodies]
        assert set(server.authorizations) == {f"Bearer {BY_NAME[name]}" for name in ("MY_MODEL_KEY", "RING_KEY", "OPENAI_API_KEY")}
    canaries = [*CANARIES, Canary("token", token)]
    for hidden in ("canary_ring.py", "notes.py"):
        (tmp_path / "place" / hidden).unlink()
    shutil.rmtree(tmp_path / "place" / "__pycache__", ignore_errors=True)
    found = list(found_below(canaries, tmp_path / "place"))
    for words, answer in answers:
        found += found_in(canaries, answer.out.encode(), f"stdout of {words}")
        found += found_in(canaries, answer.err.encode(), f"stderr of {words}")
    for number, body in enumerate(bodies):
        found += found_in(canaries, body, f"request {number}")
    assert found == [], "\n".join(found)
    assert len(bodies) >= 12 and len(answers) >= 40


async def _crashes(_arguments: Any, _context: Any) -> Any:
    """A defect whose message holds what it must not."""
    raise RuntimeError(f"signer Signer(key={BY_NAME['HL_AGENT_KEY']}) and {BY_NAME['OPENAI_API_KEY']}")


@pytest.mark.parametrize("form", ["plain", "reversed", "hex", "HEX", "quoted", "base64+0", "base64+1", "base64+2", "base64url+1"])
def test_the_scan_finds_a_key_in_each_form(tmp_path: Path, form: str) -> None:
    canary = CANARIES[0]
    (tmp_path / "a").write_bytes(b"xx" + canary.forms()[form] + b"yy")
    assert [line for line in found_below([canary], tmp_path) if f" {form} " in line]


def test_the_scan_finds_a_key_inside_a_longer_text_in_base64(tmp_path: Path) -> None:
    for before in ("", "k", "ke"):
        text = base64.b64encode(f"{before}{CANARIES[1].value} and more".encode())
        assert list(found_in([CANARIES[1]], text, "there")), before
