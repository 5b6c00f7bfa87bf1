"""The last things that happened anywhere in the workspace: fills, refusals, halts, incidents, answers to commands."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.widgets import Static

from tradeagent.domain.clock import to_datetime
from tradeagent.domain.money import parse_decimal
from tradeagent.tui.text import money, one_line, price, signed, tone

if TYPE_CHECKING:
    from tradeagent.tui.glance import Happening


class Ticker(Static):
    """As many lines as there is room for, the newest at the bottom."""

    def __init__(self) -> None:
        super().__init__(Content("nothing has happened yet"), markup=False)
        self._happenings: tuple[Happening, ...] = ()

    def show(self, happenings: "tuple[Happening, ...]") -> None:
        """Redraw with these events, oldest first."""
        self._happenings = happenings
        lines = [_line(one) for one in happenings[-max(1, self.content_size.height) :]]
        self.update(Content("\n").join(lines) if lines else Content("nothing has happened yet"), layout=False)

    def on_resize(self) -> None:
        self.show(self._happenings)


def _line(one: "Happening") -> Content:
    when = to_datetime(one.time_ms).strftime("%m-%d %H:%M:%S")
    told = _TELLERS.get(one.kind, _other)(one.data)
    return Content.assemble((f"{when}  ", "dim"), (f"{one_line(one.where, 40)}  ", "bold"), told)


def _fill(data: dict[str, Any]) -> Content:
    realised = parse_decimal(data.get("realised_pnl", "0"), "realised_pnl")
    size, at, fee = (parse_decimal(data[key], key) for key in ("size", "price", "fee"))
    what = f"fill {data['side']} {price(size)} {one_line(data['market'], 20)} at {price(at)}, fee {money(fee)}"
    gain = (f", realised gross {signed(realised)}", tone(realised)) if realised else ("", "")
    return Content.assemble(what, gain)


def _refused(data: dict[str, Any]) -> Content:
    rule, message = one_line(str(data.get("rule", "")), 40), one_line(str(data.get("message", "")), 160)
    return Content.assemble((f"refused {rule}", "$text-warning"), f" {message}")


def _alarm(word: str, style: str) -> Callable[[dict[str, Any]], Content]:
    def told(data: dict[str, Any]) -> Content:
        says = [str(data[key]) for key in ("code", "state", "reason", "kind", "amount", "message") if data.get(key)]
        return Content.assemble((word, style), f" {one_line(' '.join(says), 200)}")

    return told


def _command(data: dict[str, Any]) -> Content:
    style = "$text-error" if data.get("state") == "failed" else ""
    return Content.assemble((f"command {one_line(str(data.get('kind')), 20)} {one_line(str(data.get('state')), 20)}", style))


def _state(data: dict[str, Any]) -> Content:
    why = f" ({one_line(str(data['stopped_because']), 40)})" if data.get("stopped_because") else ""
    return Content(f"is now {one_line(str(data.get('state')), 20)}{why}")


def _said(data: dict[str, Any]) -> Content:
    return Content.assemble((f"agent {one_line(str(data.get('agent')), 48)} says", "bold"), f" “{one_line(str(data.get('text')), 200)}”")


def _other(data: dict[str, Any]) -> Content:
    return Content(one_line(", ".join(f"{key} {value}" for key, value in data.items() if value), 200))


_TELLERS: dict[str, Callable[[dict[str, Any]], Content]] = {
    "fill": _fill,
    "proposal.rejected": _refused,
    "halt": _alarm("HALT", "bold $text-error"),
    "lockout": _alarm("LOCKOUT", "bold $text-error"),
    "liquidation": _alarm("LIQUIDATION", "bold $text-error"),
    "incident.opened": _alarm("incident", "bold $text-warning"),
    "incident.closed": _alarm("incident closed", "dim"),
    "command.state": _command,
    "deployment.state": _state,
    "notification": _said,
}
