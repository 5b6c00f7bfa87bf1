"""The JSON that scripts depend on, field by field: every command of research, data, market and algo, on real or recorded data.

A shape names the fields that must be there and what each holds; others may stand beside them. `tidy` reads every value of every document:
money as text, times as ISO-8601 in UTC, names in snake_case, nothing infinite.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_market_commands import venue  # noqa: F401  # the fixture of a venue on this machine

from tradeagent.cli.entry import run
from tradeagent.domain.clock import HOUR_MS
from tradeagent.hyperliquid.loopback import InfoServer
from tradeagent.market.importer import import_bars, import_funding
from tradeagent.market.instruments import instrument
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse
from tradeagent.runtime.workspace import init_workspace
from tradeagent.workspace.paths import Workspace

pytestmark = pytest.mark.real_data
Check = Callable[[Any], bool]
Shape = Any
SNAKE = re.compile(r"[a-z][a-z0-9_]*")
# What is below these is named by people, algorithms, rules or files, or counts something.
NAMED_BY_OTHERS = {"params", "fixed", "space", "stability", "importance", "limits_impact", "refused", "cut", "values", "signals", "notes"}
NAMED_BY_OTHERS |= {"indicators", "near_misses", "states_pct", "columns", "timings"}
NAMED_MARKETS = {"markets", "exit_reasons"}
MONEY_NAMES = re.compile(
    r"(.*_quote|pnl|worst_pnl|fees|funding|mae|mfe|price|.*_price|equity|equity_end|cash|size|notional|stop|target|entry)"
)


def text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def money(value: Any) -> bool:
    return isinstance(value, str) and Decimal(value).is_finite() and "e" not in value.lower()


def instant(value: Any) -> bool:
    return isinstance(value, str) and value.endswith("Z") and datetime.fromisoformat(value).utcoffset() == timedelta(0)


def count(value: Any) -> bool:
    return type(value) is int and value >= 0


def number(value: Any) -> bool:
    return type(value) in (int, float)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def table(value: Any) -> bool:
    return isinstance(value, dict)


def anything(value: Any) -> bool:
    return bool(value)


def words(value: Any) -> bool:
    return isinstance(value, dict) and all(text(each) for each in value.values())


def or_none(shape: Shape) -> Shape:
    return ("none or", shape)


def one_of(*names: str) -> Check:
    return lambda value: value in names


def unlike(value: Any, shape: Shape, where: str = "") -> list[str]:
    """Where a value is not of its shape: a dict names fields, a one-item list holds any number of its shape, a function judges."""
    if isinstance(shape, tuple):
        return [] if value is None else unlike(value, shape[1], where)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        missing = [f"{where}.{name}: missing" for name in shape if name not in value]
        return missing + [fault for name in shape if name in value for fault in unlike(value[name], shape[name], f"{where}.{name}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [fault for place, each in enumerate(value) for fault in unlike(each, shape[0], f"{where}[{place}]")]
    try:
        return [] if shape(value) else [f"{where}: {value!r} is not {shape.__name__}"]
    except (ValueError, ArithmeticError) as error:
        return [f"{where}: {value!r}: {error}"]


def untidy(value: Any, name: str = "", where: str = "") -> list[str]:
    """What breaks the rules that hold for every document."""
    if isinstance(value, dict):
        wrong = [f"{where}.{key}: no snake_case" for key in value if name not in NAMED_MARKETS and not SNAKE.fullmatch(key)]
        return wrong + [fault for key, each in value.items() if key not in NAMED_BY_OTHERS for fault in untidy(each, key, f"{where}.{key}")]
    if isinstance(value, list):
        return [fault for place, each in enumerate(value) for fault in untidy(each, name, f"{where}[{place}]")]
    if value is None or isinstance(value, bool):
        return []
    if (name in ("time", "first", "last") or name.endswith(("_time", "_at"))) and not instant(value):
        return [f"{where}: {value!r} is no time"]
    if MONEY_NAMES.fullmatch(name) and isinstance(value, float):
        return [f"{where}: {value!r} is money as a float"]
    return []


METRICS = """total_return_pct annual_return_pct volatility_pct sharpe sortino calmar max_drawdown_pct max_drawdown_quote
    max_drawdown_duration_s trades winning_trades losing_trades win_rate profit_factor payoff_ratio expectancy_quote expectancy_r sqn
    avg_win_quote avg_loss_quote largest_win_quote largest_loss_quote avg_bars_held exposure_pct turnover trades_per_day long_trades
    short_trades long_win_rate short_win_rate long_pnl_quote short_pnl_quote gross_pnl_quote net_pnl_quote fees_quote funding_quote
    slippage_quote liquidations buy_hold_return_pct var_95_pct cvar_95_pct best_day_pct worst_day_pct max_leverage_used""".split()  # noqa: SIM905  # a list to read
COUNTED = ("trades", "winning_trades", "losing_trades", "long_trades", "short_trades", "liquidations", "max_drawdown_duration_s")
METRIC_SHAPE = {key: or_none(money if key.endswith("_quote") else count if key in COUNTED else number) for key in METRICS}
WORSE = {"total_return_pct": number, "sharpe": or_none(number), "max_drawdown_pct": number}
DIFFERENCE = or_none({"time": instant, "name": text, "whole": or_none(number), "cut": or_none(number)})
TRUST = {"trials": count, "sharpe_threshold": number, "psr": or_none(number), "deflated_sharpe": or_none(number)}
HONESTY = TRUST | {
    "pbo": or_none(number),
    "ci": {key: or_none([number]) for key in ("sharpe", "annual_return_pct", "max_drawdown_pct")},
    "costs_x2": WORSE,
    "delay_1": WORSE,
    "lookahead": {"ok": flag, "cuts": count, "first_difference": DIFFERENCE},
    "limits_impact": table,
}
OPENED = {
    **{"direction": one_of("long", "short"), "entry_time": instant, "entry_price": money, "size": money, "pnl": money, "fees": money},
    **{"funding": money, "mae": money, "mfe": money, "r": or_none(number), "bars": count},
}
TRADE = OPENED | {"exit_time": instant, "exit_price": money, "exit_reason": text}
DATA = {"market": text, "interval": text, "bars": count, "first": instant, "last": instant, "fingerprint": text}
BACKTEST = {
    **{"id": text, "algo": text, "version": or_none(count), "data": DATA, "metrics": METRIC_SHAPE, "trades_count": count},
    "costs": {"taker_bps": money, "maker_bps": money, "slippage_bps": money, "funding": flag, "cash": money, "leverage": count},
    **{"open_trade": or_none(OPENED), "equity_end": money, "fill_model": words, "limits_impact": table, "elapsed_s": number},
    **{"warnings": [{"code": text, "count": count, "message": text}], "honesty": HONESTY},
}
REPORT = {
    **{"venue": text, "market": text, "interval": text, "rows_read": count, "rows_written": count, "duplicates": count, "gaps": count},
    **{"missing_bars": count, "bad_rows": count, "first": instant, "last": instant},
}
SERIES = {
    **{"venue": text, "market": text, "interval": text, "rows": count, "gaps": count, "missing_bars": count, "duplicates": count},
    **{"bad_rows": count, "zero_volume": count, "outliers": count, "ok": flag},
}
FOLD = {
    **{"train": [instant], "test": [instant], "params": or_none(table), "trades": count, "sharpe": or_none(number), "pnl": money},
    **{"max_drawdown_pct": number, "win_rate": or_none(number)},
}
PROBE = {
    **{"algo": text, "market": text, "interval": text, "time": instant, "signal": one_of("long", "short", "none")},
    **{"confidence": or_none(number), "levels": {key: or_none(money) for key in ("entry", "stop", "target")}, "reasons": [text]},
    "order": or_none({"size": or_none(money), "limits": [{"rule": text, "says": text}]}),
}
ERROR = {"error": {"code": text, "message": text, "hint": lambda value: isinstance(value, str), "details": table}}
ON = ("-m", "BTC", "-i", "1h", "--from", "2025-01-01", "--to", "2025-05-01")
SEARCH = ("--n-trials", "5", "--param", "rr=2", "--param", "fast=5:15", "--param", "slow=40", "--workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A workspace with the bars that each test here needs, whichever worker plays it."""
    made = tmp_path_factory.mktemp("contract") / "ws"
    init_workspace(made)
    warehouse = Warehouse(Workspace(made).warehouse_dir)
    for market in ("BTC", "ETH"):
        import_bars(
            warehouse,
            shared_data / f"hyperliquid_{market}_1h.parquet",
            SeriesKey("hyperliquid", market, HOUR_MS),
            instrument("hyperliquid", market),
        )
        import_funding(warehouse, shared_data / f"hyperliquid_{market}_funding_1h.parquet", "hyperliquid", market)
    return made


@pytest.fixture
def ask(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def asked(shape: Shape, *arguments: str, code: int = 0) -> Any:
        """The one document of a command, once it is of its shape."""
        capsys.readouterr()
        left = run([*arguments, "-w", str(folder), "--json"])
        printed = capsys.readouterr()
        assert left == code, printed.err
        assert len(printed.out.splitlines()) == 1, "exactly one document"
        found = json.loads(printed.out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
        assert unlike(found, shape) + untidy(found) == []
        return found

    return asked


def test_data(ask: Callable[..., Any], shared_data: Path, tmp_path: Path) -> None:
    for market in ("BTC", "ETH"):
        file = str(shared_data / f"hyperliquid_{market}_1h.parquet")
        again = ask(REPORT, "data", "import", file, "--market", market, "--interval", "1h")
        assert again["rows_read"] > 5_000 and again["rows_written"] == 0
        paid = str(shared_data / f"hyperliquid_{market}_funding_1h.parquet")
        ask(REPORT, "data", "import", paid, "--market", market, "--interval", "1h", "--funding")
    assert len(ask([SERIES | {"first": instant, "last": instant}], "data", "list")) == 4
    verified = ask({"ok": flag, "series": [SERIES]}, "data", "verify", code=1)
    assert len(verified["series"]) == 4 and not verified["ok"], "a payment is missing in the recorded funding"
    hole = {"venue": text, "market": text, "interval": text, "funding": flag, "from": instant, "to": instant, "missing_bars": count}
    gaps = ask([hole], "data", "gaps")
    assert {(gap["interval"], gap["funding"]) for gap in gaps} == {("1h", True)}, "named as `data list` names them"
    ask(table, "data", "export", str(tmp_path / "bars.csv"), "--market", "BTC", "--interval", "1h")
    ask(anything, "data", "compact")


def test_backtests(ask: Callable[..., Any], tmp_path: Path) -> None:
    found = ask(BACKTEST | {"trades": [TRADE]}, "backtest", "run", "sma_cross", *ON, "--trades")
    assert found["trades_count"] == len(found["trades"]) > 20 and len(found["metrics"]) == len(METRICS)
    both = BACKTEST | {"trades": [TRADE | {"market": text}], "open_trades": [OPENED | {"market": text}]}
    both["data"] = DATA | {"markets": [{"market": text, "bars": count, "dropped_bars": count, "fingerprint": text}]}
    ask(both, "backtest", "run", "sma_cross", *ON, "-m", "ETH", "--trades")
    ask(
        BACKTEST | {"refusals": {"refused": table, "cut": table}},
        "backtest",
        "run",
        "sma_cross",
        *ON,
        "--to",
        "2025-02-01",
        "--limits",
        "algo",
    )
    ask(BACKTEST | {"state": text}, "backtest", "show", "last")
    row = {"id": text, "time": instant, "algo": text, "market": text, "interval": text, "first": instant, "last": instant, "trades": count}
    assert len(ask([row], "backtest", "list")) == 3
    ask({"ids": [text], "question": table, "metrics": table, "honesty": table}, "backtest", "compare", "last", found["id"])
    ask({"id": text, "equity": [{"time": instant, "equity": money}]}, "backtest", "plot", found["id"])
    ask({"id": text, "file": text, "bytes": count}, "backtest", "report", found["id"], "--out", str(tmp_path / "page.html"))
    assert ask({"id": text, "equal": flag, "moved": lambda value: isinstance(value, list)}, "backtest", "run", "--again", found["id"])[
        "equal"
    ]


def test_studies(ask: Callable[..., Any]) -> None:
    best = {"params": table, "score": number}
    found = ask({"id": text, "best": best, "trials": count, "honesty": HONESTY}, "optimize", "run", "sma_cross", *ON, *SEARCH)
    row = {"id": text, "time": instant, "state": text, "trials": count}
    assert len(ask([row], "optimize", "list")) == 1
    ask({"id": text, "best": best, "state": text}, "optimize", "show", found["id"])
    validation = {
        "id": text,
        "folds": [FOLD],
        "summary": {"pnl": money, "trades": count},
        "verdict": one_of("pass", "fail"),
        "honesty": TRUST,
    }
    found = ask(validation, "cv", "run", "sma_cross", *ON, *SEARCH, "--folds", "3")
    assert len(found["folds"]) == 3 and all(len(fold["train"]) == len(fold["test"]) == 2 for fold in found["folds"])
    ask([row], "cv", "list")
    ask(validation, "cv", "show", found["id"])


def test_algos(ask: Callable[..., Any], tmp_path: Path) -> None:
    kept = {"name": text, "kind": text, "version": or_none(count), "hash": text}
    ask(kept, "algo", "new", "mine", "--template", "sma_cross")
    ask([kept], "algo", "list")
    ask(kept | {"text": text}, "algo", "show", "mine")
    ask(kept | {"ok": flag, "warmup_bars": count}, "algo", "validate", "mine")
    ask([{"version": count, "created_at": instant, "hash": text}], "algo", "versions", "mine")
    explored = {"bars": count, "signals": table, "rules": [{"near_misses": count, "conditions": [{"condition": text, "blocked": count}]}]}
    told = ask(explored, "algo", "explore", "mine", *ON, "--values", str(tmp_path / "values.parquet"))
    assert told["values"]["columns"][:6] == ["time", "open", "high", "low", "close", "volume"]
    ask(PROBE, "algo", "probe", "mine", "-m", "BTC", "-i", "1h")


def test_markets(ask: Callable[..., Any], venue: InfoServer) -> None:  # noqa: F811  # the fixture above
    url = ("--url", venue.url)
    ask({"market": text, "time": instant, "close": money}, "data", "follow", "-m", "BTC", "-i", "1m", "--once", "--jsonl", *url)
    ask(REPORT, "data", "fetch", "--market", "BTC", "--interval", "1m", "--from", "2025-10-09T09:00Z", *url)
    ask([{"market": text}], "market", "search", "BTC", *url)
    ask({"market": text, "max_leverage": count}, "market", "show", "BTC", *url)
    ask({"market": text}, "market", "ticker", "BTC", *url)
    ask(anything, "market", "candles", "BTC", "--interval", "1m", *url)
    ask(anything, "market", "book", "BTC", *url)
    ask(anything, "market", "funding", "BTC", *url)


@pytest.mark.parametrize(
    ("line", "code", "name"),
    [
        (("backtest", "run", "nosuch", *ON), 4, "not_found"),
        (("backtest", "run", "sma_cross", "-m", "SOL", "-i", "1h"), 2, "data_error"),
        (("backtest", "run", "sma_cross", *ON, "--param", "fsat=3"), 2, "invalid_input"),
        (("backtest", "run", "sma_cross", *ON, "--limits", "nosuch"), 2, "invalid_input"),
        (("backtest", "run", "sma_cross", "--no-such-flag"), 2, "invalid_input"),
        (("backtest", "show", "01NOSUCH"), 4, "not_found"),
        (("optimize", "run", "sma_cross", *ON, "--n-trials", "0"), 2, "invalid_input"),
        (("optimize", "show", "01NOSUCH"), 4, "not_found"),
        (("cv", "run", "sma_cross", *ON, "--train", "10", "--test", "10"), 2, "invalid_input"),
        (("algo", "show", "nosuch"), 4, "not_found"),
        (("algo", "probe", "sma_cross"), 2, "invalid_input"),
        (("data", "import", "nosuch.csv", "--market", "BTC", "--interval", "1h"), 4, "not_found"),
        (("market", "ticker", "BTC", "--url", "http://127.0.0.1:9"), 5, "venue_error"),
    ],
)
def test_errors(ask: Callable[..., Any], line: tuple[str, ...], code: int, name: str) -> None:
    error = ask(ERROR, *line, code=code)["error"]
    assert error["code"] == name and error["hint"]
