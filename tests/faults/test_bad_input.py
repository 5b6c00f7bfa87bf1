"""Everything a person can get wrong: one error in one shape, with the value, the field and the next thing to type; never a traceback."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from product import BTC, Answer, Product

CANARY = "sk-canary-7f3e9a1c55"
HEAD = """---
name: Broken
model: offline/momentum
markets: [BTC]
tick_interval: 5m
limits:
  max_single_order_quote: 100
---

Body.
"""


@dataclass(frozen=True)
class Wrong:
    """One mistake: what is typed, what it must come to, and words that the message and the hint must hold."""

    name: str
    arguments: tuple[str, ...]
    exit_code: int = 2
    code: str = "invalid_input"
    says: tuple[str, ...] = ()
    hint: str = ""
    prepare: Callable[[Product], object] = field(default=lambda _: None)


def _agent(text: str) -> Callable[[Product], object]:
    def write(product: Product) -> None:
        folder = product.agents / "broken"
        folder.mkdir(exist_ok=True)
        (folder / "agent.md").write_bytes(text.encode("utf-8", "surrogateescape"))

    return write


def _head(old: str, new: str) -> Callable[[Product], object]:
    assert old in HEAD
    return _agent(HEAD.replace(old, new))


def _file(name: str, content: str | bytes) -> Callable[[Product], object]:
    return lambda product: (product.root / name).write_bytes(content if isinstance(content, bytes) else content.encode())


VALIDATE = ("agent", "validate", "broken")
RUN = ("run", "btc_momentum", "--replay", BTC)
TEST = ("backtest", "run", "sma_cross", "-m", "BTC", "-i", "5m")
IMPORT = ("data", "import", "{root}/bad.csv", "--market", "SOL", "--interval", "5m")
HOURLY = "".join(f"2025-03-14T{hour:02}:00:00Z,1,2,0.5,1.5,10\n" for hour in range(9))
ROW = "2025-03-14T10:00:00Z,1,2,0.5,1.5,10\n"
BUY = ("order", "place", "--wallet", "rich", "--market", "BTC", "--side", "buy")
APRIL = ("--replay", BTC, "--at", "2025-04-01")
COLUMNS = "time,open,high,low,close,volume\n"

AGENT = [
    Wrong(
        "unknown key",
        VALIDATE,
        2,
        "unknown_key",
        ("agent.md:5", "tick_intervall"),
        "tick_interval",
        _head("tick_interval", "tick_intervall"),
    ),
    Wrong(
        "unknown limit",
        VALIDATE,
        2,
        "unknown_key",
        ("agent.md:7", "max_single_order_qote"),
        "max_single_order_quote",
        _head("order_quote", "order_qote"),
    ),
    Wrong("list expected", VALIDATE, 2, "invalid_config", ("agent.md:4", "markets", "5"), "[BTC]", _head("[BTC]", "5")),
    Wrong("number expected", VALIDATE, 2, "invalid_config", ("agent.md:7", "max_single_order_quote", "lots"), "", _head("100", "lots")),
    Wrong("negative limit", VALIDATE, 2, "invalid_config", ("agent.md:7", "-5"), "", _head("100", "-5")),
    Wrong("not a number", VALIDATE, 2, "invalid_config", ("agent.md:7", "finite"), "", _head("100", ".nan")),
    Wrong(
        "above the ceiling",
        VALIDATE,
        2,
        "invalid_config",
        ("51", "50"),
        "ceilings",
        _head("max_single_order_quote: 100", "max_leverage: 51"),
    ),
    Wrong("no unit", VALIDATE, 2, "invalid_config", ("agent.md:5", "tick_interval"), "5m", _head("5m", "5")),
    Wrong("too often", VALIDATE, 2, "invalid_config", ("tick_interval", "1s"), "5s", _head("5m", "1s")),
    Wrong("unknown market", VALIDATE, 2, "invalid_config", ("agent.md:4", "BTCC"), "BTC", _head("[BTC]", "[BTCC]")),
    Wrong("unknown policy", VALIDATE, 2, "invalid_config", ("agent.md:3", "momentun"), "offline/momentum", _head("momentum", "momentun")),
    Wrong("no model id", VALIDATE, 2, "invalid_config", ("agent.md:3", "model"), "offline/momentum", _head("offline/momentum", '"a b"')),
    Wrong(
        "unknown tool",
        VALIDATE,
        2,
        "invalid_config",
        ("propose_ordr",),
        "propose_order",
        _head("limits:", "tools: [propose_ordr]\nlimits:"),
    ),
    Wrong(
        "a limit as config",
        VALIDATE,
        2,
        "invalid_config",
        ("max_leverage",),
        "limits",
        _head("limits:", "configs: {max_leverage: 5}\nlimits:"),
    ),
    Wrong("key twice", VALIDATE, 2, "invalid_config", ("agent.md", "name"), "", _head("name: Broken", "name: Broken\nname: Other")),
    Wrong("empty file", VALIDATE, 2, "invalid_config", ("agent.md",), "", _agent("")),
    Wrong("half saved", VALIDATE, 2, "invalid_config", ("agent.md",), "", _agent(HEAD[: HEAD.index("---", 4) - 20])),
    Wrong("half a line", VALIDATE, 2, "invalid_config", ("agent.md",), "", _agent("---\nname: [Bro")),
    Wrong("not text", VALIDATE, 2, "invalid_config", ("agent.md",), "", _agent("---\nname: \udcff\udcfe\x00\n---\n")),
    Wrong(
        "run of a broken one",
        ("run", "broken", "--mode", "dry-run"),
        2,
        "unknown_key",
        ("tools_",),
        "tools",
        _head("limits:", "tools_: []\nlimits:"),
    ),
    Wrong(
        "missing key",
        ("run", "broken"),
        5,
        "model_error",
        ("openai/gpt-4o", "OPENAI_API_KEY"),
        "export",
        _head("offline/momentum", "openai/gpt-4o"),
    ),
    Wrong("acp", ("run", "broken"), 5, "model_error", ("acp:thing",), "full path", _head("offline/momentum", "acp:thing")),
    Wrong("no such agent", ("run", "btc_momentun"), 4, "not_found", ("btc_momentun",), "btc_momentum"),
    Wrong("no slug", ("run", "../btc_momentum"), 2, "invalid_input", ("../btc_momentum",), "btc_momentum"),
    Wrong("exists", ("agent", "new", "BTC momentum"), 2, "invalid_input", ("btc_momentum",), "edit"),
    Wrong("no name", ("agent", "new", "???"), 2, "invalid_input", ("???",), "BTC momentum"),
]
RUNS = [
    Wrong("mode", (*RUN, "--mode", "paper"), says=("--mode", "paper"), hint="dry-run, once, loop"),
    Wrong("speed word", (*RUN, "--speed", "fast"), says=("--speed", "fast"), hint="--speed"),
    Wrong("speed zero", (*RUN, "--speed", "0"), says=("--speed", "0"), hint="max"),
    Wrong("speed infinite", (*RUN, "--speed", "inf"), says=("--speed", "inf"), hint="--speed"),
    Wrong("speed below", (*RUN, "--speed=-3"), says=("--speed", "-3"), hint="max"),
    Wrong("replay shape", ("run", "btc_momentum", "--replay", "BTC"), says=("BTC",), hint="hyperliquid:BTC:5m"),
    Wrong("replay interval", ("run", "btc_momentum", "--replay", "hyperliquid:BTC:5x"), says=("5x",), hint="5m"),
    Wrong("replay twice", ("run", "btc_momentum", "--replay", f"{BTC},{BTC}"), says=("BTC", "twice"), hint="once"),
    Wrong(
        "replay not stored", ("run", "btc_momentum", "--replay", "hyperliquid:BTC:1m"), 2, "data_error", ("BTC:1m", "BTC:5m"), "data import"
    ),
    Wrong("replay of another market", ("run", "btc_momentum", "--replay", "hyperliquid:ETH:5m"), says=("BTC", "ETH"), hint=BTC),
    Wrong("replay of an unknown one", ("run", "btc_momentum", "--replay", "hyperliquid:NOPE:5m"), says=("NOPE",), hint="config.yml"),
    Wrong("from no time", (*RUN, "--from", "yesterday"), says=("--from", "yesterday"), hint="2025-03-15"),
    Wrong("from in the future", (*RUN, "--wallet", "w1", "--from", "2030-01-01"), says=("2030-01-01", "2025-07-26"), hint="--from"),
    Wrong("to before from", (*RUN, "--from", "2025-04-01", "--to", "2025-03-20"), says=("--to",), hint="--to"),
    Wrong("to before the bars", (*RUN, "--wallet", "w1", "--to", "2020-01-01"), says=("--to", "2020-01-01"), hint="--to"),
    Wrong("to without replay", ("run", "btc_momentum", "--to", "2025-04-01"), says=("--to",), hint="--replay"),
    Wrong("ticks below zero", (*RUN, "--max-ticks=-1"), says=("--max-ticks",), hint="--help"),
    Wrong("ticks no number", (*RUN, "--max-ticks", "many"), says=("--max-ticks",), hint="--help"),
    Wrong("unknown option", (*RUN, "--max-tick", "5"), says=("--max-tick",), hint="--help"),
    Wrong("wallet name", (*RUN, "--wallet", "My Wallet"), says=("My Wallet",), hint="my_wallet"),
    Wrong("negative cash", (*RUN, "--wallet", "w2", "--cash=-5"), says=("--cash", "-5"), hint="0"),
    Wrong("cash no number", (*RUN, "--wallet", "w2", "--cash", "ten"), says=("--cash", "ten"), hint="0.25"),
    Wrong("cash of one that is there", (*RUN, "--wallet", "rich", "--cash", "5"), says=("--cash", "rich"), hint="deposit"),
    Wrong("nothing at all", ("run",), says=("agent",), hint="--help"),
    Wrong("no such command", ("rnu",), says=("rnu",), hint="--help"),
    Wrong("workspace without a path", ("status", "--workspace"), says=("--workspace",), hint="tradeagent --workspace"),
]
MONEY = [
    Wrong("over-withdrawal", ("wallet", "withdraw", "rich", "10000.01"), 3, "MARGIN", ("10000.01", "10000"), "10000"),
    Wrong("transfer to nobody", ("wallet", "transfer", "rich", "nobody", "1"), 4, "not_found", ("nobody",), "wallet new"),
    Wrong("transfer to itself", ("wallet", "transfer", "rich", "rich", "1"), 2, "invalid_input", ("rich", "both ends"), "two wallets"),
    Wrong("nothing", ("wallet", "deposit", "rich", "0"), says=("amount", "0"), hint="100"),
    Wrong("dust", ("wallet", "deposit", "rich", "1.0000001"), says=("amount", "6 decimals"), hint="1"),
    Wrong("less than dust", ("wallet", "withdraw", "rich", "0.0000001"), says=("0.0000001", "6 decimals"), hint="write 0.000001"),
    Wrong("no money has that much", ("wallet", "deposit", "rich", "1e30"), says=("amount", "1000000000000"), hint="10000"),
    Wrong("cash without end", ("wallet", "new", "w3", "--cash", "1e30"), says=("--cash", "1000000000000"), hint="10000"),
    Wrong("negative", ("wallet", "deposit", "rich", "-5"), says=("-5", "negative"), hint="above 0"),
    Wrong("negative setting", ("config", "set", "paper.slippage_bps", "-3.5"), says=("-3.5", "negative"), hint="-- -3.5"),
    Wrong("infinite", ("wallet", "deposit", "rich", "inf"), says=("amount", "inf"), hint="0.25"),
    Wrong("missing wallet", ("wallet", "show", "nobody"), 4, "not_found", ("nobody",), "wallet new"),
    Wrong("deposit to nobody", ("wallet", "deposit", "nobody", "5"), 4, "not_found", ("nobody",), "wallet new"),
    Wrong("fills of nobody", ("position", "close", "BTC", "--wallet", "nobody"), 4, "not_found", ("nobody",), "wallet new"),
    Wrong("taken", ("wallet", "new", "rich"), says=("rich",), hint="wallet list"),
    Wrong("bad name", ("wallet", "new", "Ünï"), says=("Ünï",), hint="try"),
    Wrong("unknown limit", ("wallet", "new", "w3", "--limit", "max_leverag=3"), 2, "unknown_key", ("max_leverag",), "max_leverage"),
    Wrong("no value", ("wallet", "new", "w3", "--limit", "max_leverage"), says=("max_leverage",), hint="max_leverage=5"),
    Wrong("above the ceiling", ("wallet", "new", "w3", "--limit", "max_leverage=51"), 2, "invalid_config", ("51", "50"), "ceilings"),
    Wrong("venue", ("wallet", "new", "w3", "--venue", "binance"), says=("binance",), hint="paper"),
    Wrong("group", ("wallet", "new", "w3", "--group", "robots"), says=("robots",), hint="agent"),
    Wrong(
        "side",
        ("order", "place", "--wallet", "rich", "--market", "BTC", "--side", "long", "--size", "1"),
        says=("--side", "long"),
        hint="buy",
    ),
    Wrong("at without replay", (*BUY, "--size", "1", "--at", "2025-04-01"), says=("--at",), hint="--replay"),
    Wrong("size and quote", (*BUY, "--size", "1", "--quote", "9", *APRIL), 3, "SHAPE", ("size", "quote"), "--help"),
    Wrong("no size", (*BUY, *APRIL), 3, "SHAPE", ("size",), "--help"),
    Wrong("close of no market", ("position", "close", "NOPE", "--wallet", "rich"), 3, "SHAPE", ("NOPE",), "--help"),
    Wrong("too small", (*BUY, "--quote", "9", *APRIL), 3, "SHAPE", ("10",), "--help"),
    Wrong("too large", (*BUY, "--quote", "90000", *APRIL), 3, "POSITION_CAP", ("max_position_pct",), "would pass"),
    Wrong("backwards", (*BUY, "--quote", "90", "--replay", BTC, "--at", "2025-03-20"), says=("--at", "2025-04-01"), hint="2025-04-01"),
    Wrong("replay backwards", (*RUN, "--wallet", "rich", "--from", "2025-03-20"), says=("--from", "2025-04-01"), hint="--wallet"),
    Wrong("cancel nothing", ("order", "cancel", "77"), 4, "not_found", ("77",), "order list"),
    Wrong("stop nothing", ("stop", "nobody_1"), 4, "not_found", ("nobody_1",), "status"),
    Wrong("flatten nothing", ("flatten", "nobody"), 4, "not_found", ("nobody",), "status"),
    Wrong("clear nothing", ("clear-halt", "nobody"), 4, "not_found", ("nobody",), "status"),
    Wrong("flatten unasked", ("flatten", "rich"), says=("rich",), hint="--yes"),
    Wrong("remove nobody", ("wallet", "remove", "nobody"), 4, "not_found", ("nobody",), "wallet list"),
]
READS = [
    Wrong("session", ("journal", "btc_momentum", "--session", "9"), 4, "not_found", ("9",), "run"),
    Wrong("snapshots of none", ("snapshots", "eth_mean_reversion"), 4, "not_found", ("eth_mean_reversion",), "run"),
    Wrong("kind", ("audit", "--kind", "filll"), says=("filll",), hint="fill"),
    Wrong("fills of no wallet", ("fills", "--wallet", "nobody"), 4, "not_found", ("nobody",), "wallet list"),
    Wrong("fills of no run", ("fills", "--deployment", "nobody"), 4, "not_found", ("nobody",), "status"),
    Wrong("events of no wallet", ("audit", "--wallet", "nobody"), 4, "not_found", ("nobody",), "wallet list"),
    Wrong("events of no run", ("audit", "--deployment", "nobody"), 4, "not_found", ("nobody",), "status"),
    Wrong("usage of nobody", ("usage", "--agent", "btc_momentun"), 4, "not_found", ("btc_momentun",), "btc_momentum"),
    Wrong("tests of no algo", ("backtest", "list", "--algo", "sma_cros"), 4, "not_found", ("sma_cros",), "sma_cross"),
    Wrong("notes of no folder", ("memory", "ls", "nowhere"), 4, "not_found", ("nowhere",), "memory ls"),
    Wrong("search in no folder", ("memory", "search", "grid", "--folder", "nowhere"), 4, "not_found", ("nowhere",), "memory ls"),
    Wrong("first note", ("memory", "read", "nope.md"), 4, "not_found", ("memory/nope.md",)),
    Wrong("replay of nobody", ("replay", "btc_momentun"), 4, "not_found", ("no agent", "btc_momentun"), "btc_momentum"),
    Wrong("nothing asked", ("chat", ""), says=("message", "no words"), hint="tradeagent chat"),
    Wrong("nothing asked of a run", ("chat", "", "--agent", "nobody"), says=("message", "no words"), hint="tradeagent chat"),
    Wrong("gaps of none", ("data", "gaps", "--market", "NOPE"), 4, "not_found", ("NOPE",), "data list"),
    Wrong("setting", ("config", "set", "paper.csh", "5"), 2, "unknown_key", ("paper.csh",), "paper.cash"),
    Wrong("value", ("config", "set", "paper.cash", "much"), 2, "invalid_config", ("paper.cash", "much"), "paper.cash"),
    Wrong("shell", ("completion", "powershell"), says=("powershell",), hint="bash"),
]
DATA = [
    Wrong("no file", ("data", "import", "{root}/nope.csv", "--market", "SOL", "--interval", "5m"), 4, "not_found", ("nope.csv",)),
    Wrong("no script", ("order", "play", "{root}/no.jsonl", "--wallet", "rich", "--replay", BTC), 4, "not_found", ("no.jsonl",)),
    Wrong("no account", ("exchange", "evaluate", "{root}/no.json"), 4, "not_found", ("no.json",)),
    Wrong("no calendar", ("calendar", "import", "{root}/no.ics"), 4, "not_found", ("no.ics",)),
    Wrong("no algo file", ("algo", "new", "x", "--from", "{root}/no.yml"), 4, "not_found", ("no.yml",)),
    Wrong("no series", ("data", "export", "{root}/x.csv", "-m", "DOGE"), 4, "not_found", ("DOGE",), "data import"),
    Wrong("no candles", ("market", "candles", "DOGE"), 4, "not_found", ("DOGE",), "data fetch"),
    Wrong("no funding", ("market", "funding", "DOGE"), 4, "not_found", ("DOGE",), "data fetch"),
    Wrong("candles before the first", ("market", "candles", "BTC", "--as-of", "2020-01-01"), 2, "data_error", ("BTC", "2020-01-01")),
    Wrong("no bars to test on", ("backtest", "run", "sma_cross", "-m", "DOGE", "-i", "5m"), 2, "data_error", ("DOGE",), "data import"),
    Wrong("a name without a value", (*TEST, "--param", "fast"), says=("'fast'",), hint="--param fast="),
    Wrong("a wrong name without a value", (*TEST, "--param", "fsat"), says=("'fsat'",), hint="did you mean 'fast'?"),
    Wrong("a folder", ("data", "import", "{root}", "--market", "SOL", "--interval", "5m"), 2, "data_error", ("ws",)),
    Wrong("not a table", IMPORT, 2, "data_error", ("bad.csv",), "", _file("bad.csv", bytes(range(256)) * 8)),
    Wrong("nothing in it", IMPORT, 2, "data_error", ("bad.csv",), "", _file("bad.csv", "")),
    Wrong("only a header", IMPORT, 2, "data_error", ("bad.csv",), "", _file("bad.csv", COLUMNS)),
    Wrong(
        "no close",
        IMPORT,
        2,
        "data_error",
        ("bad.csv", "close"),
        "",
        _file("bad.csv", "time,open,high,low,volume\n2025-03-14T10:00:00Z,1,2,3,4\n"),
    ),
    Wrong("words for numbers", IMPORT, 2, "data_error", ("bad.csv",), "", _file("bad.csv", COLUMNS + "2025-03-14T10:00:00Z,a,b,c,d,e\n")),
    Wrong("another interval", IMPORT, 2, "data_error", ("5m", "1h"), "--interval 1h", _file("bad.csv", COLUMNS + HOURLY)),
    Wrong(
        "half a parquet",
        ("data", "import", "{root}/bad.parquet", "--market", "SOL", "--interval", "5m"),
        2,
        "data_error",
        ("bad.parquet",),
        "",
        _file("bad.parquet", b"PAR1" + bytes(500)),
    ),
    Wrong(
        "interval",
        ("data", "import", "{root}/bad.csv", "--market", "SOL", "--interval", "five"),
        says=("five",),
        hint="5m",
        prepare=_file("bad.csv", COLUMNS + ROW),
    ),
]
ALL = AGENT + RUNS + MONEY + READS + DATA


@pytest.fixture(scope="module")
def desk(shared: Product) -> Iterator[Product]:
    """A workspace with a wallet that is rich, somewhere in April."""
    shared.ask("wallet", "new", "rich", "--cash", "10000")
    refused = shared.here(*BUY, "--quote", "1", *APRIL, "--json")
    assert refused.code == 3
    yield shared


@pytest.mark.parametrize("wrong", ALL, ids=lambda wrong: f"{wrong.name}-{wrong.arguments[0]}")
def test_a_mistake_is_one_error_that_says_what_where_and_what_next(desk: Product, wrong: Wrong) -> None:
    wrong.prepare(desk)
    arguments = tuple(word.replace("{root}", str(desk.root)) for word in wrong.arguments)
    answer = desk.here(*arguments, "--json")
    assert (answer.code, answer.error["code"]) == (wrong.exit_code, wrong.code), answer
    for word in wrong.says:
        assert word in answer.error["message"], answer.error
    assert answer.error["hint"], answer.error
    assert wrong.hint in answer.error["hint"], answer.error
    _never_a_traceback(answer)
    plain = desk.here(*arguments)
    assert (plain.code, plain.out) == (answer.code, "")
    assert re.search(r"^error: .+\n  fix: .+\n\Z", plain.err, re.MULTILINE | re.DOTALL), plain
    _never_a_traceback(plain)


def test_a_refused_withdrawal_says_what_would_have_passed(desk: Product) -> None:
    for arguments in (("withdraw", "rich", "10000.01"), ("transfer", "rich", "other", "10000.01")):
        desk.here("wallet", "new", "other")
        error = desk.here("wallet", *arguments, "--json").error
        told = {key: error["details"][key] for key in ("rule", "limit", "value", "max_ok")}
        assert told == {"rule": "MARGIN", "limit": "10000", "value": "10000.01", "max_ok": "10000"}


def test_a_kill_that_cannot_latch_is_a_failure_and_says_what_to_do(product: Product) -> None:
    folder = product.root / "state" / "kill"
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("a file in the way")
    answer = product.here("kill", "--all", "--yes", "--json")
    assert (answer.code, answer.error["code"]) == (1, "internal"), answer
    assert str(folder) in answer.error["message"] and "by hand" in answer.error["hint"]
    _never_a_traceback(answer)


@pytest.mark.parametrize(
    "stream",
    [
        ("status", "--watch"),
        ("logs", "btc_momentum", "--follow"),
        ("data", "follow", "-m", "BTC"),
        ("routine", "run", "btc_momentum", "scan", "--every", "1s"),
    ],
    ids=" ".join,
)
def test_what_prints_many_documents_is_no_json(desk: Product, stream: tuple[str, ...]) -> None:
    answer = desk.here(*stream, "--json")
    assert (answer.code, answer.error["code"]) == (2, "invalid_input"), answer
    assert "--jsonl" in answer.error["hint"]


def test_a_failed_start_leaves_no_session_wallet_or_running_deployment(product: Product) -> None:
    _head("offline/momentum", "openai/gpt-4o")(product)
    assert product.here("run", "broken", "--replay", BTC).code == 5
    assert not (product.agents / "broken" / "sessions").exists()
    assert product.ask("wallet", "list") == []
    assert product.ask("status")["deployments"] == []


def test_duplicated_and_missing_bars_are_counted_and_the_rest_is_kept(product: Product) -> None:
    minutes = (0, 5, 5, 10, 30)
    rows = "".join(f"2025-03-14T10:{minute:02}:00Z,1,2,0.5,1.5,10\n" for minute in minutes)
    (product.root / "gapped.csv").write_text(COLUMNS + rows)
    report = product.ask("data", "import", str(product.root / "gapped.csv"), "--market", "SOL", "--interval", "5m")
    assert (report["rows_read"], report["rows_written"], report["duplicates"]) == (5, 4, 1)
    assert (report["gaps"], report["missing_bars"]) == (1, 3)
    [gap] = product.ask("data", "gaps", "--market", "SOL", "--interval", "5m")
    assert (gap["from"], gap["to"], gap["missing_bars"]) == ("2025-03-14T10:15:00Z", "2025-03-14T10:30:00Z", 3)
    verify = product.here("data", "verify", "--market", "SOL", "--json")
    assert (verify.code, verify.document["ok"]) == (1, False)


LEDGERS: dict[str, tuple[Callable[[Product], object], tuple[str, ...]]] = {
    "future version": (lambda product: _sql(product.ledger_file, "PRAGMA user_version=999"), ("999", "update tradeagent")),
    "not a database": (lambda product: product.ledger_file.write_bytes(b"no database at all " * 300), ("ledger.sqlite", "backup")),
    "gone": (lambda product: product.ledger_file.unlink(), ("ledger.sqlite", "init")),
    "a page lost": (lambda product: _lose_page(product.ledger_file, "wallets"), ("ledger.sqlite", "backup")),
}


@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_that_cannot_be_used_is_refused_and_not_touched(product: Product, name: str) -> None:
    product.ask("wallet", "new", "w")
    _sql(product.ledger_file, "PRAGMA wal_checkpoint(TRUNCATE)")
    spoil, says = LEDGERS[name]
    spoil(product)
    before = product.ledger_file.read_bytes() if product.ledger_file.exists() else None
    for arguments in (("status",), ("run", "btc_momentum", "--replay", BTC, "--max-ticks", "1"), ("wallet", "show", "w")):
        answer = product.here(*arguments, "--json")
        _never_a_traceback(answer)
        assert answer.code in (1, 2, 4), answer
        assert all(word in answer.error["message"] + answer.error["hint"] for word in says), answer.error
    assert (product.ledger_file.read_bytes() if product.ledger_file.exists() else None) == before


@pytest.mark.parametrize("content", [b"no database at all " * 300, None])
def test_a_paper_account_that_cannot_be_read_is_an_error_that_names_it(product: Product, content: bytes | None) -> None:
    product.ask("wallet", "new", "w")
    file = product.paper_file("w")
    if content is None:
        _sql(file, "PRAGMA user_version=99")
    else:
        file.write_bytes(content)
    for arguments in (("run", "btc_momentum", "--wallet", "w", "--replay", BTC, "--max-ticks", "1"), ("wallet", "deposit", "w", "5")):
        answer = product.here(*arguments, "--json")
        assert (answer.code, answer.error["code"]) == (2, "data_error"), answer
        assert "w.sqlite" in answer.error["message"]
        assert answer.error["hint"]
    assert not any(row["state"] == "running" for row in product.ask("status")["deployments"])


CONFIGS = {
    "unknown key": ("paper:\n  csh: 5\n", "unknown_key", ("config.yml", "2", "paper.csh", "paper.cash")),
    "wrong type": ("paper:\n  cash: much\n", "invalid_config", ("config.yml", "2", "paper.cash", "much")),
    "broken yaml": ("paper: [1, 2\n", "invalid_config", ("config.yml",)),
    "a key in it": (f"models:\n  openai/x:\n    api_key: {CANARY}\n", "invalid_config", ("config.yml", "api_key", "env:NAME")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_broken_config_names_file_line_and_key_and_never_shows_a_secret(product: Product, name: str) -> None:
    text, code, says = CONFIGS[name]
    (product.root / "config.yml").write_text(text)
    for arguments in (("config", "show"), ("run", "btc_momentum", "--replay", BTC), ("doctor",)):
        answer = product.here(*arguments, "--json")
        _never_a_traceback(answer)
        if arguments == ("doctor",):
            assert (answer.code, answer.document["ok"]) == (1, False)
        else:
            assert (answer.code, answer.error["code"]) == (2, code)
            assert all(word in answer.error["message"] + answer.error["hint"] for word in says), answer.error
        assert CANARY not in answer.out + answer.err


def test_a_secret_typed_where_a_reference_belongs_is_not_echoed(product: Product) -> None:
    answer = product.here("config", "set", "models.openai/x.api_key", CANARY, "--json")
    assert (answer.code, CANARY in answer.out + answer.err) == (2, False)
    assert CANARY not in (product.root / "config.yml").read_text()


def test_a_wrong_environment_variable_is_named(product: Product) -> None:
    answer = Product(product.root, {"TRADEAGENT_PAPER__CASH": "much"}).here("wallet", "new", "w", "--json")
    assert answer.code == 2
    assert "TRADEAGENT_PAPER__CASH" in answer.error["message"]
    assert "much" in answer.error["message"]


def test_the_real_command_line_keeps_the_same_contract(shared: Product) -> None:
    answer = shared.run("run", "btc_momentun", "--json")
    assert (answer.code, answer.error["code"]) == (4, "not_found")
    plain = shared.run("run", "btc_momentun")
    assert (plain.code, plain.out) == (4, "")
    assert plain.err.startswith("error: no agent 'btc_momentun'")


def _never_a_traceback(answer: Answer) -> None:
    for trace in ("Traceback", "a defect in tradeagent", '  File "'):
        assert trace not in answer.out + answer.err, answer


def _sql(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute(statement)


def _lose_page(file: Path, table: str) -> None:
    """Overwrite the first page of a table that every command reads."""
    with closing(sqlite3.connect(file)) as database:
        (number,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    _overwrite(file, (number - 1) * size, number * size)


def _overwrite(file: Path, start: int, end: int) -> None:
    data = bytearray(file.read_bytes())
    data[start:end] = b"\xff" * (end - start)
    file.write_bytes(data)
