"""A backtest's judgement in words, the same on the terminal and in a report: what speaks against it, limits, warnings."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def honesty_lines(honesty: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, sentence) of each honesty figure; what cannot be computed says what it needs."""
    notes, tries, ci = honesty["notes"], honesty["trials"], honesty["ci"]
    beaten = f"{honesty['sharpe_threshold']:.2f}, the best of {tries:,} lucky tries" if tries > 1 else "0 (the first try at this idea)"
    deflated = f"{share(honesty['deflated_sharpe'])} chance that the true Sharpe is above {beaten}"
    intervals = (("Sharpe", "sharpe", ""), ("annual return", "annual_return_pct", " %"), ("drawdown", "max_drawdown_pct", " %"))
    return [
        ("tries at this idea", f"{tries:,}"),
        ("deflated Sharpe", notes.get("deflated_sharpe") or deflated),
        ("PSR", notes.get("psr") or f"{share(honesty['psr'])} chance that the true Sharpe is above 0"),
        ("overfitting (PBO)", notes["pbo"] if honesty["pbo"] is None else f"{share(honesty['pbo'])}; {notes['pbo']}"),
        ("95 % intervals", ", ".join(f"{label} {_range(ci[key], unit)}" for label, key, unit in intervals) + _note(notes, "ci")),
        ("costs × 2", _worse(honesty, "costs_x2")),
        ("one bar later", _worse(honesty, "delay_1")),
        ("look-ahead", _lookahead(honesty["lookahead"])),
    ]


def still_open(document: Document) -> list[Mapping[str, Any]]:
    """Trades that were open at the end: one at most of one market, one a market of several."""
    alone = document["open_trade"]
    return list(document.get("open_trades") or ([] if alone is None else [alone]))


def limit_lines(document: Document) -> list[tuple[str, str]]:
    """What limits did in a run that obeyed some, and what they would have done in one that knew none."""
    entries = document["trades_count"] + len(still_open(document))
    lines = []
    if document["refusals"] is not None:
        refused, cut = (", ".join(f"{rule} {n}" for rule, n in document["refusals"][key].items()) or "none" for key in ("refused", "cut"))
        lines.append((f"obeyed {document['fill_model']['limits'].partition(',')[0]}", f"refused {refused}; cut {cut}"))
    note = document["honesty"]["notes"].get("limits_impact")
    lines += [("estimated", note)] if note else []
    for rule, counts in document["limits_impact"].items():
        lines.append((f"limit {rule}", f"would have refused {counts['refused']:,} and cut {counts['cut']:,} of {entries:,} entries"))
    return lines or [("limits", f"none of {entries:,} entries would have been refused or cut by the limits of an algo")]


def warning_lines(document: Document) -> list[tuple[int, str]]:
    """(how often, what)."""
    return [(warning["count"], warning["message"]) for warning in document["warnings"]]


def metric(key: str, metrics: Mapping[str, Any]) -> str:
    """A metric for a reader: money and ratios with two decimals, rates in percent, spans in days, ∞ for a profit factor without losses."""
    value = metrics.get(key)
    if value is None:
        return "∞" if key == "profit_factor" and metrics.get("winning_trades") else "–"
    if key.endswith("win_rate"):
        return share(value)
    if key.endswith("_pct"):
        return f"{value:,.2f} %"
    if key.endswith("_duration_s"):
        return lasted(value)
    if isinstance(value, int):
        return f"{value:,}"
    return money(value)


def money(value: str | float) -> str:
    """Two decimals, thousands apart."""
    return f"{float(value):,.2f}"


def lasted(seconds: int) -> str:
    """A span in days, or in hours below one."""
    return f"{seconds / 86_400:,.1f} days" if seconds >= 86_400 else f"{seconds / 3600:,.1f} h"


def share(value: float | None) -> str:
    """A fraction as percent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def signed(value: Any) -> str:
    """Two decimals with a sign."""
    return f"{float(value):+,.2f}"


def _range(bounds: tuple[float, float] | list[float] | None, unit: str) -> str:
    return "–" if bounds is None else f"{bounds[0]:.2f} to {bounds[1]:.2f}{unit}"


def _worse(honesty: Mapping[str, Any], key: str) -> str:
    figures = honesty[key]
    sharpe = "–" if figures["sharpe"] is None else f"{figures['sharpe']:.2f}"
    told = f"return {signed(figures['total_return_pct'])} %, Sharpe {sharpe}, drawdown {figures['max_drawdown_pct']:.1f} %"
    return told + _note(honesty["notes"], key)


def _note(notes: Mapping[str, str], key: str) -> str:
    return f"; {notes[key]}" if key in notes else ""


def _lookahead(found: Mapping[str, Any]) -> str:
    if not found["ok"]:
        first = found["first_difference"]
        return f"FOUND: {first['name']} of {first['time']} changes when later bars are cut off"
    depends = found["start_dependence_pct"]
    start = "" if depends is None else f"; values move by {depends:.2g} % when the data begins one warm-up later"
    return f"none at {found['cuts']} cuts{start}"
