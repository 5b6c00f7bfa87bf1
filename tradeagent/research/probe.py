"""What would become of an entry made now: the size, stop and target that would be sent, and what a person's limits would say to it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from tradeagent.algos.analysis import Analysis
from tradeagent.algos.bars import Bars, Floats
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.signals import Code, Distance, Levels, Signals
from tradeagent.algos.spec import AlgoSpec, SideRules
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.limits import Limits
from tradeagent.domain.money import plain
from tradeagent.domain.names import Rule
from tradeagent.research.kernel import simulate
from tradeagent.research.limits_impact import limits_impact
from tradeagent.research.run import Leg, Run, Terms

_FIRE = {"long": Code.FIRE_LONG, "short": Code.FIRE_SHORT}


def entry_now(
    evaluator: Evaluator, spec: AlgoSpec, instrument: Instrument, analysis: Analysis, terms: Terms, limits: Limits
) -> dict[str, Any]:
    """The entry that the newest bar's analysis would make, filled at that bar's close, from a flat account of `terms.cash`.

    `limits` says by rule, in the door's order, what would refuse or cut it, a confidence below the least one included.
    `refused_because` is a reason of the account's own when no order would be made at all. Prices and sizes are texts.
    """
    last, played, said = len(evaluator.bars) - 1, _one_more(evaluator.bars), evaluator.signals(spec)
    codes = np.zeros(len(played), np.uint8)
    codes[last] = _FIRE[analysis.signal]
    signals = Signals(codes, 0, _longer(said.long), _longer(said.short), None if said.scale is None else _repeated(said.scale))
    leg = Leg(instrument, played, _unarmed(spec), signals, np.empty(0, np.int64), np.empty(0, np.int64))
    run = simulate([leg], replace(terms, first_row=last, close_at_end=False, delay_bars=0))
    if not len(run.open_trades):
        return {"size": None, "notional": None, "stop": None, "limits": [], "refused_because": _why(run)}
    size = Decimal(int(run.open_trades.size[0])).scaleb(-instrument.size_decimals)
    price = Decimal(int(run.open_trades.entry_price[0])).scaleb(-instrument.price_decimals)
    stop = Decimal(int(run.open_trades.stop[0])).scaleb(-instrument.price_decimals)
    impact = limits_impact(run, [leg], terms, limits)
    if analysis.confidence is not None and analysis.confidence < float(limits.number("min_confidence") or 0):
        impact = {Rule.CONFIDENCE.value: {"refused": 1, "cut": 0}} | impact
    return {
        "size": plain(size),
        "notional": plain(size * price),
        "stop": plain(stop) if stop else None,
        "limits": [{"rule": rule, "says": "refused" if count["refused"] else "cut"} for rule, count in impact.items()],
        "refused_because": None,
    }


def _one_more(bars: Bars) -> Bars:
    """The bars and one that stands still at the last close, in which the entry fills."""
    close = float(bars.close[-1])
    opened, high, low, closed = (np.append(column, close) for column in (bars.open, bars.high, bars.low, bars.close))
    time = np.append(bars.time, bars.time[-1] + bars.interval_ms)
    volume = np.append(bars.volume, 1e9)
    return Bars(bars.market, bars.interval_ms, time, opened, high, low, closed, volume, _repeated(bars.funding))


def _repeated(values: Floats) -> Floats:
    return np.append(values, values[-1:])


def _longer(levels: Levels) -> Levels:
    def longer(distance: Distance | None) -> Distance | None:
        return distance if distance is None or distance.series is None else replace(distance, series=_repeated(distance.series))

    return Levels(longer(levels.stop), longer(levels.target), longer(levels.trailing))


def _unarmed(spec: AlgoSpec) -> AlgoSpec:
    """The algo without what depends on an exit before."""

    def unarmed(rules: SideRules | None) -> SideRules | None:
        return rules and replace(rules, entry=replace(rules.entry, armed_by=None, buy_back=None))

    return replace(spec, long=unarmed(spec.long), short=unarmed(spec.short))


def _why(run: Run) -> str:
    """The kernel's own count of why no order came of it."""
    return next((name for name, count in run.counts.items() if count), "no_levels")
