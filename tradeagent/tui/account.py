"""The live account of the chosen deployment, from the same RuntimeSnapshot as `wallet show` and the agent's own prompt."""

from decimal import Decimal
from typing import TYPE_CHECKING

from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from tradeagent.domain.clock import to_datetime
from tradeagent.domain.money import ZERO
from tradeagent.domain.names import DeploymentState
from tradeagent.tui.text import LIVE_NETWORKS, age, badge, badge_style, clip, entitle, line, money, one_line, price, signed, tone

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tradeagent.execution.usage import LimitUse
    from tradeagent.ledger.trading import OrderRow
    from tradeagent.tui.glance import AccountPicture
    from tradeagent.turns.health import Surroundings
    from tradeagent.turns.snapshot import ActiveTrade

MAX_LIMITS = 6
MAX_ORDERS = 6
BAR_CELLS = 6
_VALUE_CELLS = 10
STALE_INTERVALS = Decimal("2.5")
STALE_WITHOUT_INTERVAL_S = 900
_CONSISTENT = "consistent"
_SHORT_NAMES = {"max_positions_per_market": "entries a market", "max_position_pct": "one market", "max_total_exposure_pct": "exposure"}


class AccountPane(VerticalScroll, can_focus=True):
    """Money in quote units; every figure is as of the instant in the first line, and dims when that is too long ago."""

    BORDER_TITLE = "account"

    def __init__(self) -> None:
        super().__init__()
        self._picture: AccountPicture | None = None
        self._trouble = False
        self._drawn = Content("")

    def compose(self) -> "ComposeResult":
        yield Static("", markup=False)

    def show(self, picture: "AccountPicture | None", now_ms: int, *, trouble: bool = False) -> None:
        """Draw a picture; `trouble` = the ledger cannot be read, so it may be out of date."""
        self._picture, self._trouble = picture, trouble
        if picture is None:
            entitle(self, Content("account"), Content(" "))
        else:
            network = picture.snapshot.network
            title = Content.assemble(f"account {picture.snapshot.wallet} ", (badge(network), badge_style(network)))
            entitle(self, title, Content(_source(picture)))
        self.set_class(picture is not None and picture.snapshot.network in LIVE_NETWORKS, "-live")
        self.redraw(now_ms)

    def redraw(self, now_ms: int) -> None:
        """Draw again when the text would differ, for instance because an age has grown."""
        content = Content("") if self._picture is None else self._content(self._picture, now_ms)
        if content.plain != self._drawn.plain or content.spans != self._drawn.spans:
            lines_changed = content.plain.count("\n") != self._drawn.plain.count("\n")
            self._drawn = content
            self.query_one(Static).update(content, layout=lines_changed)

    def copied_text(self) -> str:
        return self._drawn.plain

    def on_resize(self, event: Resize) -> None:
        self._drawn = Content("")
        if self._picture is not None:
            self.redraw(self._picture.snapshot.as_of_ms)

    def _content(self, picture: "AccountPicture", now_ms: int) -> Content:
        width = max(24, self.scrollable_content_region.width)
        why = _staleness(picture, now_ms, self._trouble)
        parts = [_as_of(picture, why), _figures(picture, width), _health(picture, now_ms, width), _limits(picture.uses, width)]
        parts += [_trades(picture, width), _orders(picture.snapshot.orders, width)]
        shown = Content.assemble(*parts)
        return shown.stylize_before("dim") if why else shown


def _staleness(picture: "AccountPicture", now_ms: int, trouble: bool) -> str:
    """Why the figures may not be true any more; empty when they are fresh."""
    if trouble:
        return "ledger not readable"
    card = picture.card
    if not card.is_live:
        return f"not running ({card.state.value})"
    seconds = _market_age(picture, now_ms)
    if seconds is None:
        return "no bars yet"
    interval = card.next_ms - card.last_ms if card.next_ms is not None and card.last_ms is not None else 0
    limit = float(STALE_INTERVALS) * interval / 1000 if interval > 0 else STALE_WITHOUT_INTERVAL_S
    return f"bars {age(seconds)} old" if seconds > limit else ""


def _market_age(picture: "AccountPicture", now_ms: int) -> float | None:
    """Seconds since the close of the last bar, in the wallet's own time."""
    if picture.market_ms is None:
        return None
    return max(0.0, ((picture.snapshot.as_of_ms if picture.on_replay else now_ms) - picture.market_ms) / 1000)


def _as_of(picture: "AccountPicture", why: str) -> Content:
    instant = picture.snapshot.as_of_ms if picture.on_replay or picture.market_ms is None else picture.market_ms
    when = to_datetime(instant).strftime("%Y-%m-%d %H:%M")
    return Content.assemble((f"as of {when} UTC\n", "bold"), (f"{why}\n" if why else "", "$text-warning"))


def _source(picture: "AccountPicture") -> str:
    """Where the marks come from."""
    if not picture.on_replay:
        return "imported bars"
    return f"replay ×{picture.card.speed:f}" if picture.card.speed else "replay"


def _figures(picture: "AccountPicture", width: int) -> Content:
    s = picture.snapshot
    share = f"{s.day_pnl / s.day_start_equity * 100:+.2f} %" if s.day_start_equity > 0 else ""
    return Content.assemble(
        line("equity USDC", money(s.equity), width, "bold"),
        line("cash", money(s.cash), width),
        line("margin used", money(s.margin_used), width),
        line("margin free", money(s.margin_free), width),
        line("day PnL net", f"{signed(s.day_pnl)}  {share}", width, tone(s.day_pnl)),
        line("unrealised gross", signed(s.unrealised), width, tone(s.unrealised)),
        line("drawdown", f"{s.drawdown_pct:.2f} %", width),
        line("exposure, worst case", money(s.exposure), width),
    )


def _limits(uses: "tuple[LimitUse, ...]", width: int) -> Content:
    """The caps that add up, the most used first."""
    shares = [(use.used / use.value, use) for use in uses if use.used is not None and isinstance(use.value, Decimal) and use.value > 0]
    shares.sort(key=lambda pair: -pair[0])
    rows = [_limit(share, use, width) for share, use in shares[:MAX_LIMITS]]
    more = len(shares) - len(rows)
    return Content.assemble(_heading("limits in use", f"{more} more in `limits`" if more else "", width), *rows)


def _limit(share: Decimal, use: "LimitUse", width: int) -> Content:
    unit = " %" if use.key.endswith("_pct") else ""
    name = _SHORT_NAMES.get(use.key, use.key.removeprefix("max_").removesuffix("_pct").removesuffix("_quote").replace("_", " "))
    filled = min(BAR_CELLS, int(share * BAR_CELLS + Decimal("0.5")))
    style = "$text-error" if share > 1 else "$text-warning" if share >= Decimal("0.75") else "$text-success"
    value = f"{_short(use.used or ZERO)}/{_short(Decimal(str(use.value)))}{unit}"
    room = width - BAR_CELLS - max(_VALUE_CELLS, len(value)) - 2
    bar = [("▇" * filled, style), ("·" * (BAR_CELLS - filled), "dim")]
    return Content.assemble((clip(name, room).ljust(room), "$foreground 65%"), " ", *bar, " ", value.rjust(_VALUE_CELLS), "\n")


def _trades(picture: "AccountPicture", width: int) -> Content:
    trades = picture.snapshot.trades
    if not trades:
        return Content.assemble(_heading("positions", "flat", width))
    return Content.assemble(_heading("positions", str(len(trades)), width), *(_trade(picture, trade, width) for trade in trades))


def _trade(picture: "AccountPicture", trade: "ActiveTrade", width: int) -> Content:
    pnl = trade.unrealised
    gross = "–" if pnl is None else f"{signed(pnl)} gross"
    multiple = trade.r if trade.r is not None else picture.multiples.get(trade.market)
    half = width // 2
    return Content.assemble(
        line(
            f"{trade.market} {trade.direction.value} {price(abs(trade.size))} ×{trade.leverage}",
            gross,
            width,
            tone(pnl or ZERO),
            label_style="bold",
        ),
        _pair(("entry", price(trade.entry)), ("mark", _mark(picture, trade)), half, width),
        _pair(("stop", price(trade.stop)), ("target", price(trade.target)), half, width),
        _pair(("R", "–" if multiple is None else f"{multiple:+.2f}"), ("liq", _rounded(trade.liquidation)), half, width),
    )


def _mark(picture: "AccountPicture", trade: "ActiveTrade") -> str:
    """The mark, and how far it lies behind the wallet's newest bar when it does."""
    behind = 0 if trade.mark_ms is None or picture.market_ms is None else picture.market_ms - trade.mark_ms
    return price(trade.mark) + (f" -{age(behind / 1000)}" if behind > 0 else "")


def _pair(left: tuple[str, str], right: tuple[str, str], half: int, width: int) -> Content:
    """Two labelled figures on one line."""
    first = line(left[0], left[1], half - 1).rstrip()
    return Content.assemble(first, " ", line(right[0], right[1], max(0, width - max(half, len(first) + 1))))


def _orders(orders: "tuple[OrderRow, ...]", width: int) -> Content:
    """Orders that may open something; what protects a position is written beside it, and only counted here."""
    entries = [order for order in orders if not order.reduce_only]
    rows = [_order(order, width) for order in entries[:MAX_ORDERS]]
    if len(entries) > MAX_ORDERS:
        rows.append(Content(f"and {len(entries) - MAX_ORDERS} more\n"))
    protecting = f", {len(orders) - len(entries)} protect" if len(orders) > len(entries) else ""
    return Content.assemble(_heading("open orders", f"{len(orders) or 'none'}{protecting}", width), *rows)


def _order(order: "OrderRow", width: int) -> Content:
    level = order.price if order.price is not None else order.trigger
    label = f"{order.leg} {order.side} {price(order.size - order.filled)} {order.market}"
    return line(clip(label, width - 14), f"{price(level)}", width)


def _health(picture: "AccountPicture", now_ms: int, width: int) -> Content:
    s, card = picture.snapshot, picture.card
    seconds = _market_age(picture, now_ms)
    locks = [name for name, is_on in (("lockout", s.lockout), ("KILL SWITCH", s.kill_switch)) if is_on]
    locks += [f"halt: {one_line(s.halt, 40)}"] if s.halt else []
    locks += ["paused"] if card.state is DeploymentState.PAUSED else []
    phase_style = "" if s.phase == _CONSISTENT else "bold $text-error"
    return Content.assemble(
        _heading("health", card.state.value, width),
        line("entries", ", ".join(locks) or "allowed", width, "bold $text-error" if locks else ""),
        line("ledger and venue", s.phase, width, phase_style),
        line("feed age", "no bars" if seconds is None else age(seconds), width),
        *(_around(s.around, width) if s.around else ()),
    )


def _around(around: "Surroundings", width: int) -> list[Content]:
    """The rest of what the figures rest on; a line only where there is something to say."""
    health, hours = around.health, around.hours
    lines = []
    if health.compared_s is not None:
        lines.append(line("compared", f"{age(health.compared_s)} ago", width))
    if health.model_trouble:
        lines.append(line("model", health.model_trouble, width, "bold $text-error"))
    if health.spent:
        cap = "" if health.spend_cap is None else f"/{health.spend_cap:.2f}"
        lines.append(line("model USD today", f"{health.spent:.2f}{cap}", width))
    if hours.text:
        shut = hours.opens_ms is not None
        lines.append(
            line("entry hours", f"{clip(hours.text, width - 20)} {'closed' if shut else 'open'}", width, "$text-warning" if shut else "")
        )
    if around.notes:
        lines.append(line("pinned", clip(one_line(around.notes, width), width - 8), width))
    return lines


def _heading(title: str, note: str, width: int) -> Content:
    return Content.assemble("\n", line(title, note, width, "dim", label_style="bold $text-accent"))


def _rounded(value: Decimal | None) -> str:
    """A liquidation price: computed, so no grid; five figures say enough."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.5g}"


def _short(value: Decimal) -> str:
    """A figure in a bar's line: no decimals that say nothing."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == value.to_integral_value() else f"{value:,.2f}"
