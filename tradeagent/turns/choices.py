"""What a turn chose to do with money, apart from how it said so: comparable between models, and worth something by plain arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from tradeagent.domain.money import ZERO
from tradeagent.llm.arguments import read_arguments
from tradeagent.market.feed import MarketFeed
from tradeagent.tools.registry import TOOLS

_ENTRIES = frozenset({"propose_order", "propose_risk_trade", "create_executor", "place_twap"})
_VERBS = {"close_position": "close", "modify_protection": "protect", "cancel_order": "cancel", "stop_executor": "stop_executor"}
_FAR = 1_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One call of a trading tool whose arguments are valid; `verb` is enter, reduce, close, protect, cancel or stop_executor."""

    tool: str
    verb: str
    market: str
    side: str
    arguments: Mapping[str, Any]

    @property
    def gist(self) -> tuple[str, str, str]:
        """What two models must share to agree: direction and market, not size or price."""
        return self.verb, self.market, self.side

    def __str__(self) -> str:
        return " ".join(part for part in (*self.gist, str(self.arguments.get("size") or self.arguments.get("quote") or "")) if part)


def choices_of(calls: Iterable[tuple[str, str]]) -> tuple[Choice, ...]:
    """The choices among tool calls, given as (name, arguments as JSON); what no trading tool would accept is none."""
    found = []
    for name, text in calls:
        tool = TOOLS.get(name)
        value = read_arguments(tool, text) if tool is not None and tool.scope == "trade" else None
        if isinstance(value, BaseModel):
            found.append(_choice(name, value.model_dump()))
    return tuple(found)


def agree(one: Sequence[Choice], other: Sequence[Choice]) -> bool:
    """Whether both chose the same directions in the same markets, or both nothing."""
    return {choice.gist for choice in one} == {choice.gist for choice in other}


def _choice(name: str, arguments: dict[str, Any]) -> Choice:
    fields = {**arguments, **arguments.get("fields", {})}
    verb = _VERBS.get(name, "reduce" if fields.get("reduce_only") else "enter")
    return Choice(name, verb, str(fields.get("market", "")), str(fields.get("side", "")) if name in _ENTRIES else "", fields)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a hypothetical fill pays, as fractions of its value: taker fee and slippage, each way."""

    fee: Decimal
    slippage: Decimal


@dataclass(slots=True)
class Worth:
    """Hypothetical result in quote units, net of fees and slippage; `unpriced` entries have a size or form that this arithmetic lacks."""

    pnl: Decimal = ZERO
    trades: int = 0
    unfilled: int = 0
    unpriced: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class _Open:
    """A hypothetical position of one market: `size` signed, in base units; None = no level."""

    size: Decimal
    entry: Decimal
    stop: Decimal | None
    target: Decimal | None
    since_ms: int


def worth_of(ticks: Sequence[tuple[int, Sequence[Choice]]], feed: MarketFeed, end_ms: int, costs: Costs) -> Worth:
    """What the choices of `ticks` (instant UTC ms, choices) would have made on the stored bars until `end_ms`.

    One position a market: an entry fills at the last close (a limit when a later bar reaches it), leaves at its stop or target, the stop
    first where a bar holds both, at the last close of a tick that closes or enters the other way, else at the last close of all. The door's
    rules, margin and funding are not asked.
    """
    worth = Worth()
    by_market: dict[str, list[tuple[int, Choice]]] = {}
    for at_ms, choices in ticks:
        for choice in choices:
            if choice.verb in ("enter", "close") and choice.market in feed.markets:
                by_market.setdefault(choice.market, []).append((at_ms, choice))
            elif choice.verb == "enter":
                worth.unpriced += 1
    for market, steps in by_market.items():
        _Path(market, feed, end_ms, costs, worth).walk(steps)
    return worth


class _Path:
    """One market's choices over its bars."""

    def __init__(self, market: str, feed: MarketFeed, end_ms: int, costs: Costs, worth: Worth) -> None:
        self._bars = feed.history(market, feed.interval_ms(market), end_ms, _FAR)
        self._closes = self._bars.close_ms
        self._costs, self._worth = costs, worth
        self._held: _Open | None = None

    def walk(self, steps: Sequence[tuple[int, Choice]]) -> None:
        for at_ms, choice in steps:
            self._leave_by(at_ms)
            last = self._last_close(at_ms)
            if last is None:
                self._worth.unpriced += choice.verb == "enter"
                continue
            sign = 1 if choice.side == "buy" else -1
            if self._held is not None and (choice.verb == "close" or self._held.size * sign < 0):
                self._close(self._held, last)
            if choice.verb == "enter" and self._held is not None:
                self._worth.ignored += 1
            elif choice.verb == "enter":
                self._enter(choice, sign, last, at_ms)
        if len(self._bars):
            self._leave_by(int(self._closes[-1]))
            if self._held is not None:
                self._close(self._held, _decimal(self._bars.close[-1]))

    def _last_close(self, at_ms: int) -> Decimal | None:
        seen = int(self._closes.searchsorted(at_ms, side="right"))
        return _decimal(self._bars.close[seen - 1]) if seen else None

    def _enter(self, choice: Choice, sign: int, last: Decimal, at_ms: int) -> None:
        stated = choice.arguments
        limit = stated.get("price") or stated.get("entry")
        entry, since = (last, at_ms) if limit is None or (last - limit) * sign <= 0 else (limit, self._reached(limit, sign, at_ms))
        stop = stated.get("stop")
        size = stated.get("size")
        if size is None and stated.get("quote"):
            size = stated["quote"] / entry
        if size is None and stated.get("risk_quote") and stop is not None and stop != entry:
            size = stated["risk_quote"] / abs(entry - stop)
        if choice.tool in ("create_executor", "place_twap") or size is None:
            self._worth.unpriced += 1
        elif since is None:
            self._worth.unfilled += 1
        else:
            paid = entry * (1 + sign * self._costs.slippage) if limit is None else entry
            self._worth.pnl -= size * paid * self._costs.fee
            self._held = _Open(size * sign, paid, stop, stated.get("target"), since)

    def _reached(self, price: Decimal, sign: int, at_ms: int) -> int | None:
        """Close of the first later bar that trades at a resting limit; None when none does."""
        start = int(self._bars.ts.searchsorted(at_ms))
        reached = self._bars.low[start:] <= float(price) if sign > 0 else self._bars.high[start:] >= float(price)
        return int(self._closes[start + int(reached.argmax())]) if reached.any() else None

    def _leave_by(self, until_ms: int) -> None:
        """Leave at the first stop or target that a bar closing up to `until_ms` touches."""
        held = self._held
        if held is None:
            return
        rows = slice(int(self._bars.ts.searchsorted(held.since_ms)), int(self._closes.searchsorted(until_ms, side="right")))
        opens, lows, highs = self._bars.open[rows], self._bars.low[rows], self._bars.high[rows]
        is_long = held.size > 0
        stops = _touched(held.stop, lows if is_long else highs, below=is_long)
        targets = _touched(held.target, highs if is_long else lows, below=not is_long)
        first = min(stops, targets)
        if first == _FAR:
            return
        level = held.stop if stops <= targets else held.target
        assert level is not None
        gapped = _decimal(opens[first])
        worse = min(level, gapped) if is_long else max(level, gapped)
        self._close(held, worse if stops <= targets else level)

    def _close(self, held: _Open, price: Decimal) -> None:
        got = price * (1 - (1 if held.size > 0 else -1) * self._costs.slippage)
        self._worth.pnl += held.size * (got - held.entry) - abs(held.size) * got * self._costs.fee
        self._worth.trades += 1
        self._held = None


def _touched(level: Decimal | None, prices: Any, *, below: bool) -> int:
    """Index of the first bar that touches a level; `_FAR` when none does."""
    if level is None:
        return _FAR
    hits = prices <= float(level) if below else prices >= float(level)
    return int(hits.argmax()) if hits.any() else _FAR


def _decimal(price: Any) -> Decimal:
    return Decimal(repr(float(price)))
