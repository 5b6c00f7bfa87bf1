"""The answers of `algo` as text for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradeagent.cli.output import pairs, table

if TYPE_CHECKING:
    from tradeagent.algos.spec import ParamRange


def param_row(name: str, value: str, space: "ParamRange | None") -> dict[str, Any]:
    """A parameter with the range that the algo gives it, as text; None without one."""
    if space is None:
        return {"param": name, "value": value, "range": None}
    if space.choices:
        return {"param": name, "value": value, "range": ", ".join(map(str, space.choices))}
    beside = f" step {space.step}" if space.step else " log" if space.log else ""
    return {"param": name, "value": value, "range": f"{space.low} to {space.high}{beside}"}


def explored(head: Mapping[str, Any], told: Mapping[str, Any], values: Path | None) -> str:
    """`algo explore`: the signals, a row per condition, and what stood alone in the way."""
    shown = {key: head[key] for key in ("name", "market", "interval", "first", "last")}
    shown |= {"bars": f"{told['bars']:,}", "warm-up": f"{told['warmup']:,}"}
    shown |= {name.replace("_", " "): f"{count:,}" for name, count in told["signals"].items() if not name.startswith("holds")}
    shown |= {name: f"{told[name]:,}" for name in ("ambiguous", "zero_divisions") if told[name]}
    rows = [
        {
            "rule": f"{rule['side']} {rule['part']}",
            "condition": use["condition"] if use["group"] == "required" else f"({use['condition']})",
            "true_pct": f"{use['true_pct']:.2f}",
            "flips": f"{use['flips']:,}",
            "alone_missing": f"{use['blocked']:,}" if rule["requirements"] > 1 else None,
        }
        for rule in told["rules"]
        for use in rule["conditions"]
    ]
    columns = ["rule", "condition", "true_pct", "flips", "alone_missing"]
    parts = [pairs(shown), table(rows, columns, right=columns[2:], empty="a Python algorithm has no conditions to count")]
    near = [
        f"{rule['side']} {rule['part']}: {rule['fires']:,} times, {rule['near_misses']:,} near misses"
        for rule in told["rules"]
        if rule["requirements"] > 1
    ]
    parts += ["\n".join(near)] if near else []
    parts += [f"wrote {values}"] if values else []
    return "\n\n".join(parts)


def probed(data: Mapping[str, Any]) -> str:
    """`algo probe`: the signal, its levels and reasons, and the order that would come of it."""
    levels, order = data["levels"], data["order"]
    shown = {
        "algo": data["algo"] + (f"@{data['version']}" if data["version"] else ""),
        "market": f"{data['market']} {data['interval']}",
        "bar": f"{data['time']} (closed {data['age_s']:,} s ago)",
        "signal": data["signal"]
        if data["signal"] == "none"
        else f"{data['signal']}{', an entry now' if data['fires'] else ', no new entry'}",
        "confidence": None if data["confidence"] is None else f"{data['confidence']:.3f}",
        **levels,
        "atr": data["context"]["atr"],
    }
    parts = [pairs(shown), "\n".join(f"- {reason}" for reason in data["reasons"])]
    if order is not None:
        parts.append(f"an entry now: {_order(order, data['limits_kind'])}")
    return "\n\n".join(parts)


def _order(order: Mapping[str, Any], kind: str) -> str:
    if order["refused_because"]:
        return f"none, {order['refused_because'].replace('_', ' ')}"
    said = ", ".join(f"{row['rule']} {row['says']}" for row in order["limits"]) or "nothing against it"
    return f"size {order['size']}, notional {order['notional']} USDC; the limits of kind {kind} say: {said}"
