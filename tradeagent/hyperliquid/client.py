"""What the venue's info endpoint says about markets: reads without a key. `/info` only; nothing here can place an order.

Every answer is checked before it is believed: one that does not have the documented form (hyperliquid.md §5) is a VenueError.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.domain.clock import DAY_MS, Clock
from tradeagent.domain.errors import InvalidInput, VenueError
from tradeagent.hyperliquid.throttle import WEIGHT_PER_MINUTE, WeightBudget
from tradeagent.workspace.web import Patience, Web

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tradeagent.hyperliquid.wire import BookAnswer, ContextAnswer, Meta

MAINNET = "https://api.hyperliquid.xyz"
MAX_CANDLES = 5_000
MAX_PAYMENTS = 500
INTERVALS = tuple(parse_duration(t) for t in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w"))
_CHEAP, _DEAR = 2, 20
_CANDLES_PER_WEIGHT, _ROWS_PER_WEIGHT = 60, 20
_HINT = "try again in a minute; an address other than the venue's is set with --url or hyperliquid.url"
_COLUMNS = ("o", "h", "l", "c", "v")

_Model = TypeVar("_Model", bound="BaseModel")
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ListedMarket:
    """One market of the venue's list. `tiers` are (lower bound of notional, max leverage), lowest first."""

    name: str
    size_decimals: int
    max_leverage: int
    tiers: tuple[tuple[Decimal, int], ...]
    is_delisted: bool


@dataclass(frozen=True, slots=True)
class Context:
    """A market at this moment: prices in USDC, `funding` the current hour's estimated rate, `open_interest` in base units."""

    market: str
    mark: Decimal
    oracle: Decimal
    mid: Decimal | None
    previous_day: Decimal
    funding: Decimal
    open_interest: Decimal
    day_notional: Decimal


@dataclass(frozen=True, slots=True)
class BookLevel:
    price: Decimal
    size: Decimal
    orders: int | None


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The best levels at `time_ms`, best first."""

    market: str
    time_ms: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Candles in time order, the open one included: `ts` each open (UTC ms), `values` open, high, low, close, volume as rows of floats."""

    ts: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.ts)


@dataclass(frozen=True, slots=True, eq=False)
class Payments:
    """Funding payments in time order: stamps as the venue wrote them (UTC ms) and rates."""

    ts: Ints
    rate: Floats

    def __len__(self) -> int:
        return len(self.ts)


class InfoClient:
    """One connection to an info endpoint at `url` (no trailing slash needed), within the venue's weight budget."""

    def __init__(self, url: str, clock: Clock, *, patience: Patience | None = None, per_minute: int = WEIGHT_PER_MINUTE) -> None:
        self._url = url.rstrip("/") + "/info"
        self._clock = clock
        self._web = Web(clock, _HINT, patience)
        self._budget = WeightBudget(clock, per_minute)
        self._server: tuple[int, int] | None = None
        self.requests = 0

    @property
    def weight(self) -> int:
        """Weight spent so far."""
        return self._budget.total

    def close(self) -> None:
        self._web.close()

    def now_ms(self) -> int:
        """The venue's time: that of its last answer and what our clock moved since; ours before it has answered.

        The answers tell whole seconds, rounded down, so that what has closed by this time has closed there.
        """
        if self._server is None:
            return self._clock.now_ms()
        said_ms, heard_ms = self._server
        return said_ms + max(0, self._clock.now_ms() - heard_ms)

    def markets(self, dex: str = "") -> tuple[ListedMarket, ...]:
        """Every perpetual of a dex (the venue's own when empty), delisted ones included."""
        return _listed(self._meta(self._ask({"type": "meta", "dex": dex}, _DEAR), "meta"))

    def contexts(self, dex: str = "") -> tuple[tuple[ListedMarket, ...], tuple[Context, ...]]:
        """The market list and, in its order, each market's prices, funding and volume."""
        answer = self._ask({"type": "metaAndAssetCtxs", "dex": dex}, _DEAR)
        if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], list):
            self._garbage("metaAndAssetCtxs", "is not [meta, contexts]")
        listed = _listed(self._meta(answer[0], "metaAndAssetCtxs[0]"))
        if len(answer[1]) < len(listed):
            self._garbage("metaAndAssetCtxs", f"has {len(answer[1])} contexts for {len(listed)} markets")
        return listed, tuple(_context(market.name, self._context(raw)) for market, raw in zip(listed, answer[1], strict=False))

    def mids(self, dex: str = "") -> dict[str, Decimal]:
        """Mid price of every market."""
        from tradeagent.hyperliquid.wire import Mids

        return dict(self._parsed(Mids, self._ask({"type": "allMids", "dex": dex}, _CHEAP), "allMids").root)

    def book(self, market: str) -> OrderBook:
        """The best 20 levels of each side."""
        from tradeagent.hyperliquid.wire import BookAnswer

        answer = self._ask({"type": "l2Book", "coin": market}, _CHEAP)
        if answer is None:
            raise VenueError(f"market: the venue has no book of {market!r}", hint=f"tradeagent market search {market}")
        parsed = self._parsed(BookAnswer, answer, "l2Book")
        if parsed.coin != market:
            self._garbage("l2Book", f"is of {parsed.coin}, not of {market}")
        return _book(parsed)

    def candles(self, market: str, interval_ms: int, from_ms: int, until_ms: int) -> Candles:
        """Candles whose open is in [from, until), at most 5,000 a request: the caller pages. The last one may still be open.

        Raises InvalidInput for an interval the venue does not have.
        """
        if interval_ms not in INTERVALS:
            known = ", ".join(map(interval_text, INTERVALS))
            raise InvalidInput(f"interval: the venue has no {interval_text(interval_ms)} bars", hint=f"use one of {known}")
        text = interval_text(interval_ms)
        request = {"coin": market, "interval": text, "startTime": from_ms, "endTime": until_ms - 1}
        expected = min(max(-(-(until_ms - from_ms) // interval_ms), 0), MAX_CANDLES)
        rows = self._rows({"type": "candleSnapshot", "req": request}, expected, _CANDLES_PER_WEIGHT)
        ts = self._stamps(rows, "t", "candleSnapshot")
        values = self._numbers(rows, _COLUMNS, "candleSnapshot")
        if any(row.get("i", text) != text or row.get("s", market) != market for row in rows):
            self._garbage("candleSnapshot", f"is not of {market} {text}")
        if np.any(ts % min(interval_ms, DAY_MS)) or np.any(np.diff(ts) <= 0):
            self._garbage("candleSnapshot", "has open times off the grid or out of order")
        # The candle that contains startTime is answered as well.
        asked = (ts >= from_ms) & (ts < until_ms)
        return Candles(ts[asked], values[:, asked])

    def funding(self, market: str, from_ms: int, until_ms: int) -> Payments:
        """Payments stamped in [from, until), the oldest 500 of them: the caller pages on from the last."""
        body = {"type": "fundingHistory", "coin": market, "startTime": from_ms, "endTime": until_ms - 1}
        rows = self._rows(body, min(max((until_ms - from_ms) // 3_600_000, 0), MAX_PAYMENTS), _ROWS_PER_WEIGHT)
        ts = self._stamps(rows, "time", "fundingHistory")
        rate = self._numbers(rows, ("fundingRate",), "fundingHistory")[0]
        if np.any(np.diff(ts) <= 0) or any(row.get("coin", market) != market for row in rows):
            self._garbage("fundingHistory", "is out of order or of another market")
        asked = (ts >= from_ms) & (ts < until_ms)
        return Payments(ts[asked], rate[asked])

    def _ask(self, body: dict[str, Any], weight: int) -> Any:
        """The decoded answer; every attempt is paid for."""

        def pay() -> None:
            self.requests += 1
            self._budget.take(weight)

        reply = self._web.post(self._url, body, pay)
        if reply.server_ms is not None:
            self._server = (reply.server_ms, self._clock.now_ms())
        try:
            return json.loads(reply.body)
        except (ValueError, RecursionError):
            self._garbage(str(body["type"]), f"is not JSON: {reply.body[:40]!r}")

    def _rows(self, body: dict[str, Any], expected: int, rows_per_weight: int) -> Sequence[dict[str, Any]]:
        """A list of objects, in room reserved for `expected` rows."""
        extra = expected // rows_per_weight
        answer = self._ask(body, _DEAR + extra)
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            self._garbage(str(body["type"]), "is not a list of objects")
        self._budget.charge(max(0, len(answer) // rows_per_weight - extra))
        return answer

    def _stamps(self, rows: Sequence[dict[str, Any]], key: str, kind: str) -> Ints:
        stamps = [row.get(key) for row in rows]
        if not all(isinstance(stamp, int) and 0 <= stamp < 2**52 for stamp in stamps):
            self._garbage(kind, f"has a {key} that is no time in ms")
        return np.array(stamps, np.int64)

    def _numbers(self, rows: Sequence[dict[str, Any]], keys: Sequence[str], kind: str) -> Floats:
        """One row of floats for each key; the venue writes numbers as text."""
        try:
            values = np.array([[float(row[key]) for row in rows] for key in keys], np.float64)
        except (KeyError, ValueError, TypeError) as error:
            self._garbage(kind, f"has no number where one belongs ({error})")
        if not np.all(np.isfinite(values)):
            self._garbage(kind, "has a number that is not finite")
        return values

    def _meta(self, answer: Any, kind: str) -> "Meta":
        from tradeagent.hyperliquid.wire import Meta

        return self._parsed(Meta, answer, kind)

    def _context(self, answer: Any) -> "ContextAnswer":
        from tradeagent.hyperliquid.wire import ContextAnswer

        return self._parsed(ContextAnswer, answer, "metaAndAssetCtxs[1]")

    def _parsed(self, model: type[_Model], answer: Any, kind: str) -> _Model:
        from pydantic import ValidationError

        try:
            return model.model_validate(answer)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            self._garbage(kind, f"{where}: {str(first['msg'])[:120]}")

    def _garbage(self, kind: str, what: str) -> NoReturn:
        raise VenueError(f"{kind}: the venue's answer {what}", hint=_HINT, details={"request": kind})


def _listed(meta: "Meta") -> tuple[ListedMarket, ...]:
    tables = dict(meta.margin_tables)
    listed = []
    for market in meta.universe:
        table = tables.get(market.margin_table_id) if market.margin_table_id is not None else None
        tiers = tuple((t.lower_bound, t.max_leverage) for t in table.margin_tiers) if table else ((Decimal(0), market.max_leverage),)
        listed.append(ListedMarket(market.name, market.sz_decimals, market.max_leverage, tiers, market.is_delisted))
    return tuple(listed)


def _context(market: str, raw: "ContextAnswer") -> Context:
    return Context(market, raw.mark_px, raw.oracle_px, raw.mid_px, raw.prev_day_px, raw.funding, raw.open_interest, raw.day_ntl_vlm)


def _book(raw: "BookAnswer") -> OrderBook:
    bids, asks = (tuple(BookLevel(level.px, level.sz, level.n) for level in side) for side in raw.levels)
    return OrderBook(raw.coin, raw.time, bids, asks)
