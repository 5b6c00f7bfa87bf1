"""`exchange`: what the venue answers, checked by this product's own arithmetic."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.hyperliquid.evaluation import EvaluatedPosition, Evaluation

app = typer.Typer(help="Answers of the exchange, computed anew.", no_args_is_help=True)
_ACCOUNT = ("equity", "notional", "margin_used", "maintenance_margin")


@app.callback()
def group() -> None:
    """Without it Typer would take the only command for the group."""


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="JSON with the venue's answers: {meta, marks, clearinghouseState}")],
) -> None:
    """Equity, margins and liquidation prices of a recorded account, with what the venue published beside them and the difference.

    `marks` is a price by coin, or the asset contexts of metaAndAssetCtxs. A position's own maxLeverage replaces its market's margin tiers.

    Example: tradeagent exchange evaluate account.json --json
    """
    from tradeagent.hyperliquid.evaluation import evaluate as evaluated
    from tradeagent.hyperliquid.wire import read_record

    record = read_record(file)
    found = evaluated(record)
    document = _document(file, record.clearinghouse_state.time, found)
    session().output.document(document, _text(document))


def _document(file: Path, time_ms: int | None, found: "Evaluation") -> dict[str, Any]:
    from dataclasses import asdict

    from tradeagent.domain.clock import iso

    account, cross = asdict(found.account), asdict(found.cross)
    account["withdrawable"] = found.withdrawable
    published = {**found.published_account, "withdrawable": found.published_withdrawable}
    return {
        "file": str(file),
        "time": None if time_ms is None else iso(time_ms),
        "is_complete": found.is_complete,
        "is_liquidatable": found.is_liquidatable,
        **_beside(account, published),
        "cross": _beside(cross, found.published_cross),
        "positions": [_position(row) for row in found.positions],
    }


def _position(row: "EvaluatedPosition") -> dict[str, Any]:
    from dataclasses import asdict

    from tradeagent.domain.money import plain

    return {
        "market": row.market,
        "size": plain(row.size),
        "mark_price": plain(row.mark_price),
        "leverage": row.leverage,
        "margin_mode": row.margin_mode,
        "max_leverage": row.max_leverage,
        **_beside(asdict(row.computed), row.published),
    }


def _beside(computed: Mapping[str, Decimal | None], published: Mapping[str, Decimal | None]) -> dict[str, Any]:
    """Our figures, the venue's under `published`, and ours less the venue's under `difference`; null where one of them is not there."""
    from tradeagent.domain.money import plain

    def shown(value: Decimal | None) -> str | None:
        return None if value is None else plain(value)

    pairs = {key: (value, published[key]) for key, value in computed.items()}
    differences = {key: None if own is None or theirs is None else own - theirs for key, (own, theirs) in pairs.items()}
    return {
        **{key: shown(own) for key, (own, _) in pairs.items()},
        "published": {key: shown(theirs) for key, (_, theirs) in pairs.items()},
        "difference": {key: shown(value) for key, value in differences.items()},
    }


def _text(document: Mapping[str, Any]) -> str:
    parts = [("account", document, (*_ACCOUNT, "withdrawable")), ("cross", document["cross"], _ACCOUNT)]
    account = [
        {"": f"{name} {key.replace('_', ' ')}", "computed": part[key], **{how: part[how][key] for how in ("published", "difference")}}
        for name, part, keys in parts
        for key in keys
    ]
    positions = [
        {**row, "liquidation": row["liquidation_price"] or "unreachable", "published": row["published"]["liquidation_price"]}
        | {"difference": row["difference"]["liquidation_price"]}
        for row in document["positions"]
    ]
    figures = ["", "computed", "published", "difference"]
    columns = ["market", "size", "entry_price", "mark_price", "leverage", "max_leverage", "margin_mode", "unrealised_pnl", "margin_used"]
    columns += ["maintenance_margin", "liquidation", "published", "difference"]
    right = [column for column in columns if column not in ("market", "margin_mode")]
    lines = [table(account, figures, right=figures[1:]), "", table(positions, columns, right=right, empty="no positions")]
    if not document["is_complete"]:
        lines.append("the venue's totals hold more than the listed positions: the rest is taken as published")
    if document["is_liquidatable"]:
        lines.append("equity is below maintenance margin: this account can be liquidated")
    return "\n".join(lines)
