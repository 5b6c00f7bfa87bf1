"""How a backtest reads on a terminal: sections of aligned figures, from the document that --json prints."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tradeagent.cli.output import table
from tradeagent.research.reports import words

if TYPE_CHECKING:
    from tradeagent.research.store import Stored

Document = Mapping[str, Any]
_WIDTH = 24
_CLOSED_ONLY = "net and expectancy count closed trades only; fees, funding and slippage are of the whole run, the open position included"
_NOT_ASKED = ("text", "params", "from_ms", "until_ms", "interval_ms", "market", "others")
_RESULT = (
    (("total return", "total_return_pct", "%"), ("trades", "trades", "n"), ("fees", "fees_quote", "")),
    (("annual return", "annual_return_pct", "%"), ("win rate", "win_rate", "share"), ("funding paid", "funding_quote", "")),
    (("buy and hold", "buy_hold_return_pct", "%"), ("profit factor", "profit_factor", "x"), ("slippage", "slippage_quote", "")),
    (("max drawdown", "max_drawdown_pct", "%"), ("expectancy", "expectancy_quote", ""), ("net, closed trades", "net_pnl_quote", "")),
    (("drawdown lasted", "max_drawdown_duration_s", "s"), ("expectancy R", "expectancy_r", "x"), ("largest win", "largest_win_quote", "")),
    (("volatility", "volatility_pct", "%"), ("SQN", "sqn", "x"), ("largest loss", "largest_loss_quote", "")),
    (("Sharpe", "sharpe", "x"), ("long / short", "long_trades", "sides"), ("liquidations", "liquidations", "n")),
    (("Sortino", "sortino", "x"), ("bars held", "avg_bars_held", "x"), ("turnover", "turnover", "x")),
    (("Calmar", "calmar", "x"), ("exposure", "exposure_pct", "%"), ("leverage used", "max_leverage_used", "x")),
)


def report(document: Document, trades: Sequence[Mapping[str, Any]] | None = None) -> str:
    """The whole result for a person; `trades` are listed when given."""
    data = document["data"]
    version = f"@{document['version']}" if document["version"] else ""
    label = "synthetic " if data["venue"] == "synthetic" else ""
    aged = {"stale": "another kernel made this", "moved": f"made again, it moved: {document.get('moved')}"}
    parts = [
        f"{document['algo']}{version} on {label}{data['market']} {data['interval']}, {_day(data['first'])} to {_day(data['last'])}",
        aged.get(document.get("state", ""), ""),
        _section("Data", _data(document)),
        _section("Costs", _costs(document)),
        _section("Result", _result(document)),
        _section("Honesty", [f"{label:<19}{text}" for label, text in words.honesty_lines(document["honesty"])]),
        _section("Limits", _limits(document)),
        _section("Exits", _exits(document)),
        _section("Warnings", [f"{count:>8,}  {text}" for count, text in words.warning_lines(document)]),
    ]
    if trades is not None:
        parts.append(_trades(trades))
    return "\n\n".join(part for part in parts if part) + "\n\n" + _next(document)


def listing(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `backtest list`: `state` is current, stale (made by another kernel), equal or moved (after --again)."""
    from tradeagent.domain.bars import interval_text
    from tradeagent.domain.clock import iso
    from tradeagent.research.version import kernel_version

    current = kernel_version() if rows else ""
    return [
        {
            "id": row["id"],
            "time": iso(row["created_ms"]),
            "algo": row["algo"],
            "version": row["version"],
            "market": row["market"],
            "interval": interval_text(row["interval_ms"]),
            "first": iso(row["first_ms"]),
            "last": iso(row["last_ms"]),
            "return_pct": row["total_return_pct"],
            "sharpe": row["sharpe"],
            "drawdown_pct": row["max_drawdown_pct"],
            "trades": row["trades"],
            "state": _state(row["moved"], row["kernel"], current),
        }
        for row in rows
    ]


def comparison(kept: "Sequence[Stored]") -> dict[str, Any]:
    """JSON of `backtest compare`: ids, what differed in the question, and metrics and honesty by key, one value a backtest."""
    documents = [one.document for one in kept]
    asked = [_question(one) for one in kept]
    keys = dict.fromkeys(key for one in asked for key in one)
    differs = [key for key in keys if any(other.get(key) != asked[0].get(key) for other in asked)]
    return {
        "ids": [one.id for one in kept],
        "question": {key: [one.get(key) for one in asked] for key in differs},
        "metrics": {key: [document["metrics"][key] for document in documents] for key in documents[0]["metrics"]},
        "honesty": {key: [document["honesty"][key] for document in documents] for key in ("trials", "deflated_sharpe", "psr", "pbo")},
    }


def side_by_side(compared: Mapping[str, Any]) -> str:
    """`compare` for a person: one column a backtest."""
    names = [f"…{identity[-6:]}" for identity in compared["ids"]]
    rows: list[dict[str, Any]] = []
    for part in ("question", "metrics", "honesty"):
        rows += [
            {"": key} | {name: _short(value) for name, value in zip(names, values, strict=True)} for key, values in compared[part].items()
        ]
    return table(rows, ["", *names], right=names)


def moves(data: Mapping[str, Any]) -> str:
    """`run --again` for a person."""
    if data["equal"]:
        return f"{data['id']}: made again, equal to the last unit"
    rows = [{"what": row["what"], "before": _short(row["before"]), "now": _short(row["now"])} for row in data["moved"]]
    return f"{data['id']}: made again, and moved\n\n{table(rows, ['what', 'before', 'now'], right=('before', 'now'))}"


def _section(title: str, lines: Sequence[str]) -> str:
    return title + "\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def _data(document: Document) -> list[str]:
    data = document["data"]
    series = f"{data['venue']}:{data['market']}:{data['interval']}"
    made = f", made from {data['made_from']} bars" if data["made_from"] else ""
    each = [
        f"{one['market']:<10}{one['funding_payments']:,} funding payments"
        + (f", {one['dropped_bars']:,} bars that another market lacks left out" if one["dropped_bars"] else "")
        for one in data.get("markets", ())
    ]
    return [
        f"{data['bars']:,} bars of {series}{made}, {data['funding_payments']:,} funding payments",
        *each,
        f"fingerprint {data['fingerprint'][:12]}, kernel {document['kernel']}, {document['elapsed_s'] * 1000:,.1f} ms",
    ]


def _costs(document: Document) -> list[str]:
    costs = document["costs"]
    funding = "hourly funding" if costs["funding"] else "no funding"
    size = f", {costs['fill_qty']} a trade" if costs["fill_qty"] else ""
    fees = f"{costs['taker_bps']} bps taker, {costs['maker_bps']} maker, {costs['slippage_bps']} slippage, {funding}"
    model = document["fill_model"]
    return [fees, f"{_money(costs['cash'])} USDC at {costs['leverage']}×{size}", model["signals"], model["path"]]


def _result(document: Document) -> list[str]:
    metrics = document["metrics"]
    lines = []
    for row in _RESULT:
        cells = [f"{label:<19}{_figure(metrics, key, unit):>13}" for label, key, unit in row]
        lines.append("    ".join(cells))
    started, ended = document["costs"]["cash"], document["equity_end"]
    counted = [] if document["open_trade"] is None else ["", _CLOSED_ONLY]
    return [f"{_money(started)} USDC became {_money(ended)}{_still_open(document)}", "", *lines, *counted]


def _still_open(document: Document) -> str:
    each = [
        " ".join(["a", trade["direction"], "of", trade["size"], *([trade["market"]] if "market" in trade else [])])
        + f" still open (marked, {words.signed(trade['pnl'])} so far)"
        for trade in words.still_open(document)
    ]
    return f", with {' and '.join(each)}" if each else ""


def _limits(document: Document) -> list[str]:
    lines = words.limit_lines(document)
    width = max(len(label) for label, _ in lines) + 2
    return [f"{label:<{width}}{text}" for label, text in lines]


def _exits(document: Document) -> list[str]:
    reasons = document["diagnostics"]["exit_reasons"]
    return [f"{reason:<16}{found['trades']:>8,}  {float(found['pnl_quote']):>+14,.2f} USDC" for reason, found in reasons.items()]


def _trades(trades: Sequence[Mapping[str, Any]]) -> str:
    columns = [
        *(["market"] if trades and "market" in trades[0] else []),
        "direction",
        "entry_time",
        "entry_price",
        "exit_time",
        "exit_price",
        "size",
        "pnl",
        "r",
        "bars",
        "exit_reason",
    ]
    rows = [dict(trade) | {"r": None if trade["r"] is None else f"{trade['r']:+.2f}"} for trade in trades]
    return table(rows, columns, right=("entry_price", "exit_price", "size", "pnl", "r", "bars"), empty="no trades")


def _next(document: Document) -> str:
    data, identity = document["data"], document["id"]
    kept = f"kept as {identity}\n  tradeagent backtest show {identity[-6:]} --trades\n"
    if "markets" in data:
        return f"{kept}  tradeagent backtest report {identity[-6:]}"
    search = f"tradeagent optimize run {document['algo']} --market {data['market']} --interval {data['interval']}"
    return f"{kept}  {search}"


def _question(kept: "Stored") -> dict[str, Any]:
    from tradeagent.domain.clock import iso

    document = kept.document
    config = {key: value for key, value in kept.config.items() if key not in _NOT_ASKED}
    params = {f"param {name}": value for name, value in kept.config["params"].items()}
    data = {key: document["data"][key] for key in ("market", "interval", "first", "last", "fingerprint")}
    return {"time": iso(kept.created_ms), "algo": document["algo"], "version": document["version"], **config, **params, **data}


def state_of(moved: str | None, kernel: str) -> str:
    """current; stale (made by another kernel); after --again equal or moved."""
    from tradeagent.research.version import kernel_version

    return _state(moved, kernel, kernel_version())


def _state(moved: str | None, kernel: str, current: str) -> str:
    if moved:
        return "moved"
    if kernel != current:
        return "stale"
    return "current" if moved is None else "equal"


def _figure(metrics: Mapping[str, Any], key: str, unit: str) -> str:
    value = metrics[key]
    if unit == "sides":
        return f"{metrics['long_trades']:,} / {metrics['short_trades']:,}"
    if value is None:
        return "∞" if key == "profit_factor" and metrics["winning_trades"] else "–"
    if unit == "%":
        return f"{value:,.2f} %"
    if unit == "share":
        return words.share(value)
    if unit == "n":
        return f"{value:,}"
    if unit == "s":
        return words.lasted(value)
    return f"{value:,.2f}" if unit == "x" else _money(value)


def _money(text: str) -> str:
    return words.money(text)


def _short(value: Any) -> str | None:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return None if value is None else str(value)[:24]


def _day(text: str) -> str:
    return text[:16].replace("T", " ")
