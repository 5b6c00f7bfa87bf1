"""A confirm card as a person reads it: what happens, on what, its figures, and the gates with what each wants."""

from collections.abc import Iterator, Mapping
from typing import Any

from tradeagent.cli.output import table
from tradeagent.workspace.plain_text import visible


def card_text(card: Mapping[str, Any]) -> str:
    """A card in full."""
    lines = [f"card {card['card']}: {card['kind']} {card['target']}", f"state {card['state']}, expires {_minute(card['expires'])} UTC", ""]
    consequences = {key: value for key, value in card["consequences"].items() if key not in ("gates", "failed_gates")}
    lines += _figures(consequences)
    gates = card["consequences"].get("gates")
    if gates:
        rows = [{**gate, "gate": gate["id"], "": "pass" if gate["passed"] else "FAIL", "wants": gate["bound"]} for gate in gates]
        lines += ["", table(rows, ["gate", "", "figure", "wants", "source", "note"], right=("figure",))]
    if card.get("result"):
        lines += ["", "result", *_figures(card["result"], "  ")]
    return visible("\n".join(lines))


def _figures(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in values.items():
        name = f"{indent}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield name
            yield from _figures(value, f"{indent}  ")
        elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            yield name
            yield from (f"{indent}  {', '.join(f'{key} {figure}' for key, figure in each.items())}" for each in value)
        elif isinstance(value, str) and "\n" in value:
            yield name
            yield from (f"{indent}  {line}" for line in value.split("\n"))
        else:
            yield f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else _word(value)}"


def _word(value: Any) -> str:
    if value is None:
        return "–"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _minute(instant: str) -> str:
    return f"{instant[:10]} {instant[11:16]}"
