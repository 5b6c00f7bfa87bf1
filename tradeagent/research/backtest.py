"""A backtest from what a person asks to a run: bars and funding out of the warehouse, signals of the algo, one pass of the kernel over one
market or several of one account.

What the run is worth is in `metrics`, how far to trust it in `honesty`, how it is told in `result`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, cast

import numpy as np

from tradeagent.algos.bars import Bars
from tradeagent.algos.evaluate import Evaluator, require_bars
from tradeagent.algos.params import params_of, with_params
from tradeagent.algos.signals import Signals
from tradeagent.algos.spec import AlgoSpec, Param
from tradeagent.algos.store import StoredAlgo
from tradeagent.domain.clock import iso
from tradeagent.domain.costs import FeeSchedule
from tradeagent.domain.errors import DataError, InvalidInput, near
from tradeagent.domain.instrument import Instrument
from tradeagent.domain.money import plain
from tradeagent.market.readers import SpanReport, columns
from tradeagent.market.series import SeriesKey
from tradeagent.market.warehouse import Warehouse
from tradeagent.research.legs import read_legs
from tradeagent.research.lookahead import Lookahead, check
from tradeagent.research.run import Leg, Run, Terms
from tradeagent.research.version import kernel_version

__all__ = [
    "BPS",
    "Loaded",
    "Refusals",
    "Setup",
    "account_of",
    "from_config",
    "kernel_version",
    "load",
    "load_all",
    "on_bars",
    "params_text",
    "require_enough",
    "run_setup",
    "simulate",
    "spec_for",
    "terms_of",
    "warm_up",
]

PATHS = ("adverse", "nearest")
BPS = Decimal(10_000)
_LONGEST = 18


@dataclass(frozen=True, slots=True)
class Setup:
    """What a result depends on besides algo and data: series and span (UTC ms, open-ended when None), parameters, and the terms.

    `limits` is a kind of limits or a file: the run then goes through the door. `terms.leverage` None means the algo's own. `others` are
    further markets that the algo trades in the same account; `account_of` puts them in the one order that results do not depend on.
    """

    venue: str
    market: str
    interval_ms: int
    from_ms: int | None = None
    until_ms: int | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)
    has_funding: bool = True
    limits: str | None = None
    others: tuple[str, ...] = ()

    @property
    def markets(self) -> tuple[str, ...]:
        return (self.market, *self.others)

    @property
    def name(self) -> str:
        """`BTC`, or `BTC+ETH` for several."""
        return "+".join(self.markets)

    @property
    def key(self) -> SeriesKey:
        return self.keys[0]

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        return tuple(SeriesKey(self.venue, market, self.interval_ms) for market in self.markets)

    def as_config(self) -> dict[str, Any]:
        """JSON values that `from_config` reads again."""
        return {
            "venue": self.venue,
            "market": self.market,
            "interval_ms": self.interval_ms,
            "from_ms": self.from_ms,
            "until_ms": self.until_ms,
            "params": {name: value if isinstance(value, str | int) else plain(value) for name, value in self.params.items()},
            **self.terms.as_config(),
            "has_funding": self.has_funding,
            "limits": self.limits,
            **({"others": list(self.others)} if self.others else {}),
        }


def from_config(config: Mapping[str, Any]) -> Setup:
    """The setup that `as_config` wrote."""
    quantity = config["fill_qty"]
    terms = Terms(
        cash=Decimal(config["cash"]),
        fees=FeeSchedule(taker=Decimal(config["taker"]), maker=Decimal(config["maker"])),
        slippage_bps=Decimal(config["slippage_bps"]),
        path=config["path"],
        leverage=config["leverage"],
        fill_qty=None if quantity is None else Decimal(quantity),
        fill_no_volume=config["fill_no_volume"],
        close_at_end=config["close_at_end"],
    )
    named = {key: config[key] for key in ("venue", "market", "interval_ms", "from_ms", "until_ms", "params", "has_funding", "limits")}
    return Setup(terms=terms, others=tuple(config.get("others", ())), **named)


def account_of(markets: Sequence[str]) -> tuple[str, ...]:
    """The markets of one account by name, so that it does not matter how they were typed. InvalidInput for one that is given twice."""
    for market in markets:
        if markets.count(market) > 1:
            raise InvalidInput(f"--market: {market} is given twice", hint="an account has one position a market; leave one out")
    return tuple(sorted(markets))


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An algo on one market's bars, ready to run, with what its look-ahead check found. `evaluator` remembers the indicators; `dropped`
    counts the bars left out because another market of the account has none at that time."""

    leg: Leg
    evaluator: Evaluator
    data: SpanReport
    lookahead: Lookahead
    check_s: float
    signals_s: float
    dropped: int = 0


def terms_of(
    spec: AlgoSpec,
    *,
    cash: Decimal | None = None,
    fee_bps: Decimal | None = None,
    slippage_bps: Decimal | None = None,
    path: str = "adverse",
    leverage: int | None = None,
    fill_qty: Decimal | None = None,
    base: Terms | None = None,
) -> Terms:
    """Terms from what a person gave, the rest from the algo and `base`. InvalidInput names the flag and its bounds."""
    if path not in PATHS:
        raise InvalidInput(f"--path: {path!r} is not known", hint="adverse or nearest")
    default = base or Terms()
    fees = default.fees
    if fee_bps is not None:
        rate = _within("--fee-bps", fee_bps, Decimal(0), Decimal(1000)) / BPS
        fees = FeeSchedule(taker=rate, maker=rate)
    slippage = default.slippage_bps if slippage_bps is None else _within("--slippage-bps", slippage_bps, Decimal(0), Decimal(1000))
    if slippage * 10 % 1:
        raise InvalidInput(f"--slippage-bps: {slippage} is finer than a tenth of a basis point", hint="like 2 or 0.5")
    if leverage is not None:
        _within("--leverage", Decimal(leverage), Decimal(1), Decimal(100))
    start = spec.starting_capital if cash is None else cash
    return replace(
        default,
        cash=_within("--cash", start, Decimal(10), Decimal(10) ** 9),
        fees=fees,
        slippage_bps=slippage,
        path=cast(Literal["adverse", "nearest"], path),
        leverage=leverage,
        fill_qty=None if fill_qty is None else _within("--fill-qty", fill_qty, Decimal("0.000001"), Decimal(10) ** 9),
    )


def _within(flag: str, value: Decimal, low: Decimal, high: Decimal) -> Decimal:
    if not low <= value <= high:
        told = f"{value:.3e}" if len(value.as_tuple().digits) > _LONGEST or abs(value.adjusted()) > _LONGEST else plain(value)
        raise InvalidInput(f"{flag}: {told} is not from {plain(low)} to {high:,f}", hint=f"{flag} {plain(max(low, min(value, high)))}")
    return value


def spec_for(algo: StoredAlgo, setup: Setup) -> AlgoSpec:
    """The algo with the parameters of the setup, on its market and interval. A Python algo takes any name its function knows."""
    spec = replace(algo.spec, market=setup.market, interval_ms=setup.interval_ms)
    if spec.python is None:
        return with_params(spec, setup.params)
    return replace(spec, constants={**spec.constants, **{name: _number(name, value) for name, value in setup.params.items()}})


def _number(name: str, value: Param) -> Decimal:
    try:
        return Decimal(value)
    except ArithmeticError:
        raise InvalidInput(f"--param {name}: {value!r} is not a number", hint=f"--param {name}=14") from None


def params_text(params: Sequence[str], spec: AlgoSpec) -> dict[str, Param]:
    """`k=v` of a command line. InvalidInput for a word without `=`, with the names the algo has."""
    found: dict[str, Param] = {}
    for item in params:
        name, mark, value = item.partition("=")
        if not mark or not name.strip() or not value.strip():
            known = params_of(spec) if spec.python is None else {}
            hint = near(name, known) if known else "write --param name=14"
            if name in known:
                hint = f"write --param {name}={known[name]}"
            raise InvalidInput(f"--param: {item!r} is not NAME=VALUE", hint=hint)
        found[name.strip()] = value.strip()
    return found


def load(warehouse: Warehouse, algo: StoredAlgo, setup: Setup, instrument: Instrument, as_of_ms: int) -> Loaded:
    """Bars that have closed by `as_of_ms`, funding and signals of one market. DataError names what is missing and the command that
    brings it."""
    return load_all(warehouse, algo, setup, [instrument], as_of_ms)[0]


def load_all(warehouse: Warehouse, algo: StoredAlgo, setup: Setup, instruments: Sequence[Instrument], as_of_ms: int) -> tuple[Loaded, ...]:
    """The same of every market of the account, on the bars they share."""
    parts = [replace(setup, market=market, others=()) for market in setup.markets]
    found = read_legs(warehouse, setup.keys, instruments, (setup.from_ms, setup.until_ms), as_of_ms)
    loaded = []
    for part, known, read in zip(parts, instruments, found, strict=True):
        spec = spec_for(algo, part)
        require_enough(warehouse, part, spec, read.bars)
        one = on_bars(spec, read.bars, read.report, known, has_funding=setup.has_funding)
        loaded.append(replace(one, dropped=read.dropped))
    return tuple(loaded)


def require_enough(warehouse: Warehouse, setup: Setup, spec: AlgoSpec, bars: Bars) -> None:
    """DataError when the span has too few bars for any signal; the hint says when bars before its start would help."""
    try:
        require_bars(spec, bars)
    except DataError as error:
        if setup.from_ms is None:
            raise
        try:
            earlier, _ = columns(warehouse, setup.key, None, setup.from_ms)
        except DataError:
            raise error from None
        if not len(earlier):
            raise
        hint = f"give an earlier --from: bars since {iso(int(earlier.time[0]))} are stored; or shorten the longest indicator"
        raise DataError(error.message, hint=hint, details=error.details) from None


def on_bars(spec: AlgoSpec, bars: Bars, data: SpanReport, instrument: Instrument, *, has_funding: bool = True) -> Loaded:
    """One leg from bars that are loaded already.

    Look-ahead is checked first, which also compiles what is compiled on first use, so that `signals_s` is what the indicators took.
    InvalidInput `look_ahead` when a Python algorithm sees the future, before anything of it is used.
    """
    began = time.perf_counter()
    lookahead = check(bars, spec)
    ready = time.perf_counter()
    evaluator = Evaluator(bars)
    signals = evaluator.signals(spec)
    took = time.perf_counter() - ready
    hours, rates = (data.funding_hours, data.funding_rates) if has_funding else (data.funding_hours[:0], data.funding_rates[:0])
    return Loaded(Leg(instrument, bars, spec, signals, hours, rates), evaluator, data, lookahead, ready - began, took)


def simulate(legs: Sequence[Leg], terms: Terms) -> Run:
    """One pass of the compiled kernel."""
    from tradeagent.research.kernel import simulate as compiled

    return compiled(legs, terms)


def warm_up(loaded: Loaded) -> None:
    """Have the kernel compiled or read from its cache, so that the pass is measured alone."""
    leg = loaded.leg
    few = replace(leg, bars=leg.bars.rows(0, 2), signals=Signals(np.zeros(2, np.uint8), 2, scale=np.ones(2)))
    simulate([few], Terms())


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the limits of a run with `--limits` did: entries refused and cut, by rule."""

    refused: Mapping[str, int]
    cut: Mapping[str, int]

    def as_dict(self) -> dict[str, dict[str, int]]:
        return {"refused": dict(self.refused), "cut": dict(self.cut)}


def run_setup(loaded: Sequence[Loaded], setup: Setup) -> tuple[Run, Refusals | None]:
    """The run that a setup asks for, all its markets in one account: the kernel's, or with `limits` the door's."""
    legs = [one.leg for one in loaded]
    if setup.limits is None:
        return simulate(legs, setup.terms), None
    from tradeagent.research.eventpath import replay
    from tradeagent.research.limits_impact import resolve

    event = replay(legs, setup.terms, resolve(setup.limits))
    return event.run, Refusals(event.rejections, event.cuts)
