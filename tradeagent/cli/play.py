"""`order play`: a script of orders, one JSON object a line, over imported bars."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from tradeagent.cli.complete import wallets
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.runtime.script import Step

Choice = TypeVar("Choice", bound=StrEnum)
_KEYS = ("at", "op", "ref", "market", "side", "type", "size", "price", "trigger", "tif", "reduce_only", "stop", "target")
_EXAMPLE = '{"at": "2025-03-15T12:00Z", "op": "place", "ref": "a", "market": "BTC", "side": "buy", "size": "0.001"}'


def register(app: typer.Typer) -> None:
    app.command()(play)


def play(
    file: Annotated[Path, typer.Argument(help=f"one object a line; keys: {', '.join(_KEYS)}")],
    wallet: Annotated[str, typer.Option("--wallet", help="wallet to trade on", autocompletion=wallets)],
    replay: Annotated[str, typer.Option(help="VENUE:MARKET:INTERVAL of imported bars")],
    to: Annotated[
        str | None, typer.Option(help="then play the bars up to this instant, or to their end; without it the clock stays at the last line")
    ] = None,
) -> None:
    """Play a script of orders over imported bars, each line at its `at`: `place` an order, or `cancel` the one named by `ref`.

    Each line goes through the door as `order place` does. A refusal is a verdict of its line, and the script goes on.

    Example: tradeagent order play script.jsonl --wallet main --replay hyperliquid:BTC:5m --to 2025-03-16
    """
    from tradeagent.cli.parsing import instant
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.runtime.script import play_script
    from tradeagent.runtime.views import wallet_view

    steps = read_script(file)
    to_ms = None if to is None else instant(to, "--to")
    if to_ms is not None and to_ms < steps[-1].at_ms:
        raise InvalidInput(f"--to: {to} is before the last line of {file}", hint="leave --to out, or give a later time")
    current = session()
    current.workspace.require_writable()
    verdicts = play_script(current.place, wallet, replay, steps, to_ms)
    view = wallet_view(current.workspace, current.config, current.ledger, current.clock, wallet)
    rows = [{**row, "said": (row["detail"] or {}).get("message")} for row in verdicts]
    text = table(rows, ["at", "op", "ref", "verdict", "rule", "order_id", "said"])
    held = "".join(f", {row['market']} {row['size']}" for row in view["positions"])
    current.output.document({"verdicts": verdicts, "wallet": view}, f"{text}\n\n{wallet}: equity {view['equity']}{held}")


def read_script(file: Path) -> "list[Step]":
    """The lines of a script in the order of time. NotFound without a file, DataError naming file, line and key for anything malformed."""
    from tradeagent.domain.errors import DataError, NotFound
    from tradeagent.workspace.files import read_text

    try:
        text = read_text(file)
    except FileNotFoundError:
        raise NotFound(f"{file}: there is no such file", hint=f"one object a line: {_EXAMPLE}") from None
    steps: list[Step] = []
    markets: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        if not raw.strip():
            continue
        step = _Line(f"{file}:{number}", raw).step(markets)
        if steps and step.at_ms < steps[-1].at_ms:
            _refuse(f"{file}:{number}", "at: it is before the line above", "put the lines in the order of time")
        steps.append(step)
    if not steps:
        raise DataError(f"{file}: there is no order in it", hint=f"one object a line: {_EXAMPLE}")
    return steps


def _refuse(place: str, what: str, hint: str = f"write it like {_EXAMPLE}") -> NoReturn:
    from tradeagent.domain.errors import DataError

    file, _, line = place.rpartition(":")
    raise DataError(f"{place}: {what}", hint=hint, details={"file": file, "line": int(line), "field": what.partition(":")[0]})


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the script, and where it is."""

    place: str
    raw: str

    def step(self, markets: dict[str, str]) -> "Step":
        """The step it says; `markets` are those of the orders placed so far, by name, and grows."""
        from tradeagent.domain.names import IntentKind, Side
        from tradeagent.domain.order import Proposal
        from tradeagent.runtime.script import Step

        data = self._object()
        at, operation, ref = self._instant(data), self._text(data, "op"), self._ref(data)
        if operation == "place":
            if ref in markets:
                _refuse(self.place, f"ref: {ref!r} is placed twice", "give each order a name of its own")
            proposal = self._proposal(data)
            if ref is not None:
                markets[ref] = proposal.market
            return Step(at, ref, proposal)
        if operation != "cancel":
            _refuse(self.place, f"op: {operation!r} is not place or cancel")
        if ref is None or ref not in markets:
            _refuse(self.place, f"ref: {ref!r} is not placed above", "cancel names the `ref` of a line above it")
        return Step(at, ref, Proposal(markets[ref], Side.BUY, "manual", kind=IntentKind.CANCEL))

    def _object(self) -> Mapping[str, Any]:
        try:
            data = json.loads(self.raw, parse_float=Decimal)
        except (ValueError, RecursionError):
            _refuse(self.place, "this is not JSON")
        if not isinstance(data, dict):
            _refuse(self.place, "this is not an object")
        unknown = sorted(set(data) - set(_KEYS))
        if unknown:
            _refuse(self.place, f"{unknown[0]}: there is no such key", f"known: {', '.join(_KEYS)}")
        return data

    def _instant(self, data: Mapping[str, Any]) -> int:
        from tradeagent.cli.parsing import instant
        from tradeagent.domain.errors import InvalidInput

        at = data.get("at")
        if isinstance(at, int) and not isinstance(at, bool):
            return at
        try:
            return instant(self._text(data, "at"), "at")
        except InvalidInput as error:
            _refuse(self.place, error.message, error.hint)

    def _ref(self, data: Mapping[str, Any]) -> str | None:
        return None if data.get("ref") is None else self._text(data, "ref")

    def _proposal(self, data: Mapping[str, Any]) -> Any:
        from tradeagent.domain.names import IntentKind, OrderType, Side, Tif
        from tradeagent.domain.order import Proposal

        reduce_only = data.get("reduce_only", False)
        if not isinstance(reduce_only, bool):
            _refuse(self.place, f"reduce_only: {reduce_only!r} is not true or false")
        return Proposal(
            market=self._text(data, "market"),
            side=self._choice(data, "side", Side, None),
            controller_id="manual",
            kind=IntentKind.REDUCE if reduce_only else IntentKind.OPEN,
            type=self._choice(data, "type", OrderType, OrderType.MARKET),
            tif=self._choice(data, "tif", Tif, Tif.GTC),
            reduce_only=reduce_only,
            size=self._number(data, "size"),
            price=self._number(data, "price"),
            trigger=self._number(data, "trigger"),
            stop=self._number(data, "stop"),
            target=self._number(data, "target"),
        )

    def _text(self, data: Mapping[str, Any], key: str) -> str:
        value = data.get(key)
        if value is None:
            _refuse(self.place, f"{key}: it is missing")
        if not isinstance(value, str):
            _refuse(self.place, f"{key}: {value!r} is not a text")
        return value

    def _choice(self, data: Mapping[str, Any], key: str, kind: type[Choice], default: Choice | None) -> Choice:
        if default is not None and data.get(key) is None:
            return default
        text = self._text(data, key)
        if text not in list(kind):
            _refuse(self.place, f"{key}: {text!r} is not one of {', '.join(kind)}")
        return kind(text)

    def _number(self, data: Mapping[str, Any], key: str) -> Decimal | None:
        from tradeagent.domain.errors import InvalidInput
        from tradeagent.domain.money import parse_decimal

        value = data.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
            _refuse(self.place, f"{key}: {value!r} is not a number")
        try:
            return parse_decimal(value, key)
        except InvalidInput as error:
            _refuse(self.place, error.message, error.hint)
