"""Figures, times and foreign text as the screen shows them. Nothing from outside is ever read as markup."""

from decimal import ROUND_HALF_EVEN, Decimal

from textual.content import Content
from textual.widget import Widget

from tradeagent.domain.clock import DAY_MS, to_datetime

LIVE_NETWORKS = ("testnet", "mainnet")
_BADGES = {"paper": "PAPER", "rehearsal": "REHEARSAL", "testnet": "LIVE testnet", "mainnet": "LIVE"}
_CENT = Decimal("0.01")
_KEPT = (9, 10)
_CONTROLS = [*(code for code in range(32) if code not in _KEPT), *range(127, 160)]
# Marks that reorder or hide what a person reads (Unicode TR 9, TR 36)
_INVISIBLE = [0x061C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
_DROPPED: dict[int, None] = dict.fromkeys([*_CONTROLS, *_INVISIBLE])


def clean(text: str) -> str:
    """Text without control characters (escape sequences lose their escape and show as letters) and without invisible marks."""
    return text.translate(_DROPPED)


def one_line(text: str, most: int = 200) -> str:
    """Clean text on one line of at most `most` characters."""
    flat = " ".join(clean(text[: most * 4]).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def money(value: Decimal) -> str:
    """Quote units with thousands separators and two decimals."""
    return f"{value.quantize(_CENT, rounding=ROUND_HALF_EVEN):,f}"


def signed(value: Decimal) -> str:
    """Money whose sign is always written; what rounds to nothing has none."""
    rounded = value.quantize(_CENT, rounding=ROUND_HALF_EVEN)
    return f"{rounded:+,f}" if rounded else f"{abs(rounded):,f}"


def tone(value: Decimal) -> str:
    """The colour that goes with a sign; never the only carrier of meaning."""
    rounded = value.quantize(_CENT, rounding=ROUND_HALF_EVEN)
    if not rounded:
        return ""
    return "$text-success" if rounded > 0 else "$text-error"


def price(value: Decimal | None) -> str:
    """A price as the venue writes it, at most six decimals; a dash when there is none."""
    if value is None:
        return "–"
    text = f"{value.quantize(Decimal('0.000001'), rounding=ROUND_HALF_EVEN):,f}"
    return text.rstrip("0").rstrip(".")


def age(seconds: float) -> str:
    """A duration in its largest unit: `12 s`, `4 min`, `3 h`, `2 d`."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size * (2 if unit == "min" else 1):
            return f"{whole // size} {unit}"
    return f"{whole} s"


def countdown(seconds: float) -> str:
    """Time left, `m:ss` or `h:mm:ss`; `due` when it is over."""
    whole = int(seconds)
    if whole <= 0:
        return "due"
    hours, rest = divmod(whole, 3_600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def moment(ms: int, now_ms: int) -> str:
    """A UTC instant: the time of day when it is within a day of `now_ms`, else the date and minute."""
    return to_datetime(ms).strftime("%H:%M:%S" if abs(now_ms - ms) < DAY_MS else "%Y-%m-%d %H:%M")


def badge(network: str) -> str:
    """The word that says whether money is real."""
    return _BADGES.get(network, one_line(network, 20).upper())


def badge_style(network: str) -> str:
    return "bold $text-error reverse" if network in LIVE_NETWORKS or network not in _BADGES else "bold $text-primary"


def line(label: str, value: str, width: int, style: str = "", *, label_style: str = "$foreground 65%") -> Content:
    """A label on the left and a value on the right of a line of `width` cells, ended by a newline."""
    gap = max(1, width - len(label) - len(value))
    return Content.assemble((label, label_style), " " * gap, (value, style), "\n")


def entitle(widget: Widget, title: Content, subtitle: Content | None = None) -> None:
    """Set the texts in a pane's border; a pane whose texts stay the same is not painted again."""
    shown = (title.markup, None if subtitle is None else subtitle.markup)
    if shown != (widget.border_title, widget.border_subtitle if subtitle is not None else None):
        widget.border_title = title
        if subtitle is not None:
            widget.border_subtitle = subtitle


def clip(text: str, width: int) -> str:
    """At most `width` characters, with an ellipsis where something is missing."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
