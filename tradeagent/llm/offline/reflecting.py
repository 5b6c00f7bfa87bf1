"""Reflection notes of the rule-based models: the figures of the closed trades that the prompt gives, in a sentence for each slot."""

from collections.abc import Mapping, Sequence

Group = Mapping[str, str]
_MOST = 400


def reflect(groups: Sequence[Group]) -> dict[str, str]:
    """A note by slot from the records of `## Reflection due`; nothing when no reflection is due."""
    whole = next((group for group in groups if group.get("group") == "all"), None)
    if whole is None:
        return {}
    notes = {
        "entry_timing": f"a trade ran to {whole['mean_worst']} USDC at its worst and {whole['mean_best']} at its best, on average",
        "sizing": f"{_result(whole)}, {whole['mean_r']} R a trade",
        "market_selection": _by(groups, "market"),
        "exit_timing": "; ".join(filter(None, (_held(groups), _by(groups, "exit")))),
        "regime_fit": _by(groups, "side"),
    }
    return {slot: (text or f"nothing to compare in {whole['trips']} trades")[:_MOST] for slot, text in notes.items()}


def _result(group: Group) -> str:
    return f"{group['trips']} trades, {group['wins']} won, {group['pnl']} USDC net"


def _by(groups: Sequence[Group], kind: str) -> str:
    return "; ".join(f"{group[kind]}: {_result(group)}" for group in groups if kind in group)


def _held(groups: Sequence[Group]) -> str:
    return ", ".join(f"a {group['outcome']} was held {group['mean_held_min']} min" for group in groups if "outcome" in group)
