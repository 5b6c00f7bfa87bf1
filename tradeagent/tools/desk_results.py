"""Research results in short, as a model should see them: the figures, and beside them how far to trust them."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
_METRICS = (
    "total_return_pct", "annual_return_pct", "buy_hold_return_pct", "sharpe", "sortino", "calmar", "max_drawdown_pct",
    "volatility_pct", "trades", "profit_factor", "expectancy_quote", "expectancy_r", "net_pnl_quote", "fees_quote", "funding_quote",
    "slippage_quote", "liquidations", "exposure_pct", "avg_bars_held",
)  # fmt: skip
_TRIED = ("total_return_pct", "max_drawdown_pct", "sharpe", "trades")
_MOST_NOTES = 6
_UNITS = "cash, prices, pnl, fees and funding in USDC, sizes in base units, ratios a year"


def backtest(document: Document) -> dict[str, Any]:
    """One stored backtest. Quote figures are USDC."""
    data, metrics = document["data"], document["metrics"]
    win_rate = metrics["win_rate"]
    return {
        "backtest": document["id"],
        "algo": _versioned(document),
        "data": _data(data),
        "params": document["params"],
        "costs": {key: document["costs"][key] for key in ("taker_bps", "slippage_bps", "funding", "cash", "leverage")},
        "metrics": {key: short(metrics[key]) for key in _METRICS} | {"win_rate_pct": None if win_rate is None else short(100 * win_rate)},
        "exits": {reason: found["trades"] for reason, found in document["diagnostics"]["exit_reasons"].items()},
        "honesty": honesty(document["honesty"]),
        "limits_impact": document["limits_impact"] or "the limits of an algo would have refused and cut nothing",
        "warnings": [{"count": each["count"], "what": each["message"]} for each in document["warnings"]],
        "units": _UNITS,
    }


def honesty(found: Document) -> dict[str, Any]:
    """Tries, what luck would reach, and what worse costs and a later fill leave. Probabilities are 0–1."""
    told: dict[str, Any] = {
        "tries_at_this_idea": found["trials"],
        "sharpe_that_luck_reaches": short(found["sharpe_threshold"]),
        "deflated_sharpe_probability": short(found["deflated_sharpe"]),
        "psr_probability": short(found["psr"]),
        "pbo": short(found.get("pbo")),
    }
    if "ci" in found:
        told["sharpe_95_pct"] = short(found["ci"]["sharpe"])
    for key in ("costs_x2", "delay_1"):
        if key in found:
            told[key] = {name: short(found[key][name]) for name in _TRIED}
    if "lookahead" in found:
        told["lookahead_found"] = not found["lookahead"]["ok"]
    notes = list(found.get("notes", {}).values())[:_MOST_NOTES]
    return told | ({"notes": notes} if notes else {})


def optimization(document: Document) -> dict[str, Any]:
    """One search: the best point, the next best, and how much of it is luck."""
    if "best" not in document:
        return unfinished(document)
    best = document["best"]
    return {
        "study": document["id"],
        "kind": "optimize",
        "algo": _versioned(document),
        "data": _data(document["data"]),
        "objective": document["objective"],
        "trials": {key: document[key] for key in ("trials", "distinct", "valid", "invalid", "pruned")},
        "best": {"score": short(best["score"]), "params": best["params"], **{key: short(best["metrics"][key]) for key in _METRICS[:9]}},
        "next_best": [
            {"score": short(each["score"]), "params": each["params"], **{key: short(each[key]) for key in _TRIED}}
            for each in document["top"][1:5]
        ],
        "honesty": honesty(document["honesty"]),
        "notes": document["notes"],
        "backtest": document["backtest"],
        "next": "rolling_cv_backtest tells whether this holds on bars that the search has not seen",
    }


def validation(document: Document) -> dict[str, Any]:
    """One rolling validation: its verdict, why, and every fold."""
    if "summary" not in document:
        return unfinished(document)
    summary = document["summary"]
    return {
        "study": document["id"],
        "kind": "cv",
        "algo": _versioned(document),
        "data": _data(document["data"]),
        "verdict": document["verdict"],
        "reasons": summary["reasons"],
        "summary": {key: short(value) for key, value in summary.items() if key != "reasons"},
        "folds": [
            {
                "test": each["test"],
                "params": each["params"],
                "trades": each["trades"],
                **{key: short(each[key]) for key in ("train_score", "sharpe", "return_pct", "max_drawdown_pct")},
            }
            for each in document["folds"][:20]
        ],
        "honesty": honesty(document["honesty"]),
    }


def unfinished(document: Document) -> dict[str, Any]:
    """A study without a result, as far as it is known."""
    return {key: value for key, value in document.items() if not isinstance(value, (dict, list)) or key == "error"}


def _versioned(document: Document) -> str:
    return f"{document['algo']}@{document['version']}" if document["version"] else str(document["algo"])


def _data(data: Document) -> dict[str, Any]:
    return {key: data[key] for key in ("venue", "market", "interval", "bars", "first", "last")}


def short(value: Any) -> Any:
    """Six significant figures, of what a list or a section holds too."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: short(each) for key, each in value.items()}
    return [short(each) for each in value] if isinstance(value, (list, tuple)) else value
