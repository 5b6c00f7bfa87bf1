"""A backtest as one JSON document: data, costs, fill model, trades and warnings beside the metrics. Money is text, never a float."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from tradeagent.algos.evaluate import Evaluator
from tradeagent.domain.clock import iso
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import plain
from tradeagent.domain.names import Direction
from tradeagent.market.readers import SpanReport
from tradeagent.research.backtest import BPS, Loaded, Setup
from tradeagent.research.metrics import METRIC_KEYS, Metrics, metrics_of, r_multiples, trades_pnl
from tradeagent.research.run import EXIT_REASONS, Ints, Leg, Run, Trades


def quote_text(micro: int) -> str:
    """10⁻⁶ quote units as exact text: `12.5`."""
    return plain(Decimal(micro).scaleb(-6))


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Metrics with money as text."""
    return {key: _money(metrics[key]) if key.endswith("_quote") else metrics[key] for key in METRIC_KEYS}


def _money(value: float | None) -> str | None:
    return None if value is None else plain(Decimal(f"{value:.6f}"))


def data_json(loaded: Sequence[Loaded], setup: Setup) -> dict[str, Any]:
    """What the run read. Of several markets `markets` has each on its own, and the other fields are of the whole."""
    report = loaded[0].data
    found: dict[str, Any] = {
        "venue": setup.venue,
        "market": setup.name,
        "interval": report.interval,
        "bars": report.bars,
        "first": iso(report.first),
        "last": iso(report.last),
        "made_from": report.made_from,
        "funding_payments": _payments(loaded, setup),
        "fingerprint": fingerprint_of(loaded),
        "news": "none",
    }
    if len(loaded) > 1:
        found["markets"] = [
            {
                "market": one.leg.instrument.symbol,
                "bars": one.data.bars,
                "dropped_bars": one.dropped,
                "made_from": one.data.made_from,
                "funding_payments": _payments([one], setup),
                "fingerprint": one.data.fingerprint,
            }
            for one in loaded
        ]
    return found


def _payments(loaded: Sequence[Loaded], setup: Setup) -> int:
    return sum(one.data.funding_payments for one in loaded) if setup.has_funding else 0


def fingerprint_of(loaded: Sequence[Loaded]) -> str:
    """That of the bars and payments of one market; of several, of theirs together with the bars they share."""
    if len(loaded) == 1:
        return loaded[0].data.fingerprint
    digest = hashlib.sha256("|".join(one.data.fingerprint for one in loaded).encode())
    digest.update(np.ascontiguousarray(loaded[0].leg.bars.time, "<i8").data)
    return digest.hexdigest()[:32]


def costs_json(loaded: Sequence[Loaded], setup: Setup) -> dict[str, Any]:
    """What trading cost, and with what."""
    terms = setup.terms
    return {
        "taker_bps": plain(terms.fees.taker * BPS),
        "maker_bps": plain(terms.fees.maker * BPS),
        "slippage_bps": plain(terms.slippage_bps),
        "funding": setup.has_funding,
        "cash": plain(terms.cash),
        "leverage": terms.leverage or loaded[0].leg.spec.leverage,
        "fill_qty": None if terms.fill_qty is None else plain(terms.fill_qty),
    }


def fill_model(setup: Setup) -> dict[str, str]:
    """How orders fill in words (execution.md §7)."""
    terms = setup.terms
    slippage = f"{plain(terms.slippage_bps)} bps against the trader"
    late = f", {terms.delay_bars} bar{'s' if terms.delay_bars > 1 else ''} late" if terms.delay_bars else ""
    paths = {
        "adverse": "open, the extreme against the position, the other extreme, close: a bar that holds stop and target is a stop",
        "nearest": "open, the nearer extreme, the farther one, close",
    }
    outage = "fills at its price" if terms.fill_no_volume else "an outage: nothing fills, orders wait"
    funding = "each UTC hour on the position held, at the open of the bar that starts then" if setup.has_funding else "off"
    end = "closed at the last close, with costs" if terms.close_at_end else "marked at the last close and reported as open_trade"
    return {
        "signals": f"a signal at a close fills at the next open{late}, {slippage}, as taker",
        "path": f"{terms.path}: {paths[terms.path]}",
        "stop": f"touch is enough; at the level, {slippage}, as taker; at the open when gapped",
        "target": f"touch is enough; at the level, {slippage}, as taker; a gap in favour fills at the open",
        "limit": "needs a trade through by one tick; at its own price, as maker",
        "entry_bar": "a market entry lives through its whole bar, stop and target included",
        "liquidation": "cross margin, mark below maintenance margin; taker fee",
        "no_volume": f"a bar with volume 0 and one price is {outage}",
        "funding": funding,
        "end_of_data": f"an open position is {end}",
        "limits": "none; see limits_impact" if setup.limits is None else f"{setup.limits}, judged by the door on every order",
    }


def trades_json(trades: Trades, times: Ints, instruments: Sequence[Instrument]) -> list[dict[str, Any]]:
    """Closed trades in order of exit. `times` are the opens of the bars (UTC ms): a trade's times are those of the bars in which it filled.

    `pnl` is net of fees and funding. With several instruments (one a leg) each trade names its market.
    """
    rows = _opened(trades, times, instruments)
    exits = (trades.leg, trades.exit_row, trades.exit_price, trades.exit_reason, trades.entry_row)
    for row, (leg, exit_row, price, reason, entry_row) in zip(rows, zip(*(column.tolist() for column in exits), strict=True), strict=True):
        row |= {
            "exit_time": iso(int(times[exit_row])),
            "exit_price": _price(price, instruments[leg]),
            "bars": exit_row - entry_row,
            "exit_reason": EXIT_REASONS[reason].value,
        }
    return rows


def open_trades_json(run: Run, legs: Sequence[Leg]) -> list[dict[str, Any]]:
    """The positions that were open at the end, marked at the last close."""
    rows = _opened(run.open_trades, legs[0].bars.time, [leg.instrument for leg in legs])
    for row, place, entry_row in zip(rows, run.open_trades.leg.tolist(), run.open_trades.entry_row.tolist(), strict=True):
        leg = legs[place]
        mark = round(float(leg.bars.close[-1]) * 10**leg.instrument.price_decimals)
        row |= {"mark_price": _price(mark, leg.instrument), "bars": len(leg.bars) - 1 - entry_row}
    return rows


def _opened(trades: Trades, times: Ints, instruments: Sequence[Instrument]) -> list[dict[str, Any]]:
    names = ("leg", "direction", "entry_row", "entry_price", "size", "fees", "funding", "mae", "mfe")
    columns = [getattr(trades, name).tolist() for name in names]
    pnl, multiples = trades_pnl(trades).tolist(), r_multiples(trades).tolist()
    return [
        {
            **({"market": instruments[leg].symbol} if len(instruments) > 1 else {}),
            "direction": (Direction.LONG if direction > 0 else Direction.SHORT).value,
            "entry_time": iso(int(times[entry_row])),
            "entry_price": _price(price, instruments[leg]),
            "size": plain(Decimal(size).scaleb(-instruments[leg].size_decimals)),
            "pnl": quote_text(net),
            "fees": quote_text(fees),
            "funding": quote_text(funding),
            "mae": quote_text(mae),
            "mfe": quote_text(mfe),
            "r": None if math.isnan(multiple) else multiple,
        }
        for leg, direction, entry_row, price, size, fees, funding, mae, mfe, net, multiple in zip(*columns, pnl, multiples, strict=True)
    ]


def _price(units: int, instrument: Instrument) -> str:
    return plain(Decimal(units).scaleb(-instrument.price_decimals))


_WARNINGS: Mapping[str, str] = {
    "funding_missing": "hours of the span have no stored funding rate: a position held in one paid and received nothing",
    "backfilled": "bars at the start have no volume: they were filled in from elsewhere, nothing traded there",
    "zero_volume": "bars after the start have no volume; one with a single price is an outage in which nothing fills",
    "dropped_bars": "bars were left out: not every market of the account has one at that time",
    "missing_bars": "bars are missing; nothing was filled in",
    "unclosed": "stored bars were left out: they had not closed yet when this ran",
    "bad_bars": "stored bars were left out: a price is missing, or high and low do not hold open and close",
    "off_grid": "bars had a price between two steps of the market, which was rounded",
    "over_capacity_fills": "fills were over 5 % of their bar's volume: real orders would have moved the price",
    "outage_waits": "orders had to wait because nothing traded in their bar",
    "ambiguous": "closes at which long and short both fired: no entry was made",
    "below_minimum": "entries were skipped: below the venue's smallest order",
    "bad_levels": "entries were skipped: a stop or target had no value or the wrong side",
    "venue_refused": "orders were refused by the venue's rules",
    "no_margin": "entries were skipped: not enough free margin",
    "liquidations": "positions were liquidated",
    "zero_divisions": "rows divided by zero in a condition, which counts as false",
}


def warnings_json(loaded: Sequence[Loaded], setup: Setup, run: Run) -> list[dict[str, Any]]:
    """What a reader must know before believing the figures: each with a code, a count and a sentence."""
    counts = Counter(run.counts)
    counts["funding_missing"] = 0
    for one in loaded:
        data = one.data
        counts["funding_missing"] += data.funding_missing if setup.has_funding else 0
        counts["backfilled"] += data.backfilled
        counts["zero_volume"] += data.zero_volume - data.backfilled
        counts["dropped_bars"] += one.dropped
        counts["missing_bars"] += data.missing_bars
        counts["unclosed"] += data.unclosed
        counts["bad_bars"] += data.bad_bars
        counts["off_grid"] += data.off_grid
        counts["zero_divisions"] += one.leg.signals.zero_divisions
    found = [_warning(code, counts[code]) for code in _WARNINGS if counts[code]]
    return [*_unsafe(loaded[0].evaluator), *found]


def early_warnings(evaluator: Evaluator, data: SpanReport) -> list[dict[str, Any]]:
    """Those there are before anything is run: a Python algorithm that this system could not lock up, and bars nobody could know yet."""
    return [*_unsafe(evaluator), *([_warning("unclosed", data.unclosed)] if data.unclosed else [])]


def noted(warning: Mapping[str, Any]) -> str:
    """A warning as one line of text."""
    return f"{warning['count']:,} {warning['message']}" if warning["count"] > 1 else str(warning["message"])


def _warning(code: str, count: int) -> dict[str, Any]:
    return {"code": code, "count": count, "message": _WARNINGS[code]}


def _unsafe(evaluator: Evaluator) -> list[dict[str, Any]]:
    if not evaluator.unlocked:
        return []
    message = f"Python algorithm ran unlocked, as you allowed: this system lacks {' and '.join(evaluator.unlocked)}"
    return [{"code": "unsafe_python", "count": 1, "message": message}]


ORDER = (
    "id", "algo", "version", "algo_hash", "params", "data", "costs", "metrics", "trades_count", "open_trade", "open_trades", "equity_end",
    "fill_model", "limits_impact", "refusals", "warnings", "elapsed_s", "timings", "honesty", "diagnostics", "kernel",
)  # fmt: skip


def told(loaded: Sequence[Loaded], setup: Setup, run: Run) -> dict[str, Any]:
    """The part of the document that follows from the run alone; who ran it adds the rest of `ORDER`.

    `open_trades` is there for several markets only, of which more than one may be open; `open_trade` is then the first of them.
    """
    legs = [one.leg for one in loaded]
    still = open_trades_json(run, legs)
    return {
        "params": setup.as_config()["params"],
        "data": data_json(loaded, setup),
        "costs": costs_json(loaded, setup),
        "metrics": metrics_json(metrics_of(run, legs, setup.terms)),
        "trades_count": len(run.trades),
        "open_trade": still[0] if still else None,
        **({"open_trades": still} if len(legs) > 1 else {}),
        "equity_end": quote_text(int(run.equity[-1])),
        "fill_model": fill_model(setup),
        "warnings": warnings_json(loaded, setup, run),
    }
