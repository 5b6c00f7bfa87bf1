"""The prompt of a turn: pure, in layers of fixed order and fixed budgets, so its size never grows with history.

Layers 1–10 (the product's and the user's words and the values in force) are the system message; what was observed and remembered is
the user message. Order and budgets: specs agents.md §3; grammar of the structured sections: `tradeagent.llm.offline.context`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tradeagent.llm.untrusted import free_text, one_line, quoted, untrusted
from tradeagent.turns.prompt_inputs import Listed, PromptInputs
from tradeagent.turns.prompt_rules import PRODUCT_RULES, mode_rules
from tradeagent.turns.prompt_sections import (
    bars_section,
    decision_line,
    limit_line,
    outside,
    payload_lines,
    provider_sections,
    risk_line,
    tick_lines,
    trip_group_line,
    trip_line,
)
from tradeagent.turns.prompt_text import cut_head, cut_oldest

_EVENT_TOKENS = 300
_NEWS_TOKENS = 700
_REFLECTION_SLOT_CHARACTERS = 400
_CANVAS_SLOT_CHARACTERS = 1_200
_Cut = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as sent; `cut` = characters left out, which the text says."""

    name: str
    text: str
    cut: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model gets. `hash` is the SHA-256 of both messages."""

    system: str
    user: str
    layers: tuple[Layer, ...]
    hash: str


def build_prompt(inputs: PromptInputs) -> Prompt:
    """Render every layer within its budget and join the ones that have something to say."""
    layers = tuple(Layer(name, text, cut) for name, (budget, render) in _LAYERS.items() for text, cut in (render(inputs, budget),) if text)
    system = "\n\n".join(layer.text for layer in layers if layer.name in _SYSTEM_LAYERS)
    user = "\n\n".join(layer.text for layer in layers if layer.name not in _SYSTEM_LAYERS)
    digest = hashlib.sha256(f"{system}\x00{user}".encode(errors="surrogatepass")).hexdigest()
    return Prompt(system, user, layers, digest)


def _section(title: str, text: str, budget: int) -> _Cut:
    """A titled section of free or record text, its end cut; nothing at all when empty."""
    if not text:
        return "", 0
    kept, cut = cut_head(text, budget - (len(title) + 4) // 4)
    return f"## {title}\n{kept}", cut


def _recent(title: str, lines: list[str], budget: int, what: str) -> _Cut:
    """A titled section of lines, oldest first, its oldest cut; nothing at all when empty."""
    if not lines:
        return "", 0
    kept, cut = cut_oldest(lines, budget - (len(title) + 4) // 4, what)
    return f"## {title}\n{kept}", cut


def _available(inputs: PromptInputs, budget: int) -> _Cut:
    def lines(kind: str, items: tuple[Listed, ...]) -> list[str]:
        return [f"- {kind} {one_line(item.name)}: {one_line(item.description)}" for item in items]

    return _section("Routines and skills", "\n".join(lines("routine", inputs.routines) + lines("skill", inputs.skills)), budget)


def _pairs(title: str, values: Mapping[str, str], budget: int) -> _Cut:
    return _section(title, "\n".join(f"{key}={quoted(one_line(value))}" for key, value in values.items()), budget)


def _providers(inputs: PromptInputs, budget: int) -> _Cut:
    """Account and markets are small and always whole; executors, positions and orders share the rest."""
    sections = {title: "\n".join(lines) for title, lines in provider_sections(inputs.providers).items()}
    fixed = sum(len(sections[title]) // 4 + 4 for title in ("Account", "Markets"))
    each = max(60, (budget - fixed) // 3)
    rendered = [_section(title, text, budget if title in ("Account", "Markets") else each) for title, text in sections.items()]
    return "\n\n".join(text for text, _ in rendered), sum(cut for _, cut in rendered)


def _market(inputs: PromptInputs, budget: int) -> _Cut:
    """Events and news have budgets of their own; the bars tables share the rest evenly."""
    tables = inputs.market.bars
    share = (budget - _EVENT_TOKENS - _NEWS_TOKENS) // max(1, len(tables))
    parts = [bars_section(table, share) for table in tables]
    parts.append(_whole_items("Upcoming events", outside(inputs.market.events), _EVENT_TOKENS))
    parts.append(_whole_items("News", outside(inputs.market.news), _NEWS_TOKENS))
    return "\n\n".join(text for text, _ in parts if text), sum(cut for _, cut in parts)


def _whole_items(title: str, items: list[str], tokens: int) -> _Cut:
    """The first items that fit, never half of one, so that every envelope is closed."""
    if not items:
        return "", 0
    room, kept = tokens * 4 - 64, 0
    while kept < len(items) and len(items[kept]) + 1 <= room:
        room -= len(items[kept]) + 1
        kept += 1
    note = [f"[cut: {len(items) - kept} of {len(items)} left out]"] if kept < len(items) else []
    return "\n".join([f"## {title}", *items[:kept], *note]), sum(len(item) + 1 for item in items[kept:])


def _slots(title: str, slots: Mapping[str, str], each: int, budget: int) -> _Cut:
    lines = [f"- {one_line(slot).replace('_', ' ')}: {one_line(text)[:each]}" for slot, text in slots.items() if text.strip()]
    clipped = sum(max(0, len(one_line(text)) - each) for text in slots.values())
    text, cut = _section(title, "\n".join(lines), budget)
    note = f"\n[cut: {clipped} characters past {each} per slot left out]" if clipped and text else ""
    return text + note, cut + clipped


def _learnings(inputs: PromptInputs, budget: int) -> _Cut:
    """Anybody may have edited the file, so it comes in an envelope: worth reading, never an order."""
    if not inputs.memory.learnings.strip():
        return "", 0
    kept, cut = cut_head(free_text(inputs.memory.learnings), budget - 24)
    return f"## Learnings\n{untrusted('learnings.md', kept, len(kept))}", cut


def _reflection(inputs: PromptInputs, budget: int) -> _Cut:
    """A model's own words, or those of whoever edited them: in an envelope, as learnings are."""
    text, cut = _slots("Reflection", inputs.memory.reflection, _REFLECTION_SLOT_CHARACTERS, budget - 16)
    title, _, said = text.partition("\n")
    return (f"{title}\n{untrusted('reflection.md', said, len(said))}", cut) if said else ("", 0)


def _reflection_due(inputs: PromptInputs, budget: int) -> _Cut:
    """What to reflect on now, and the figures to do it from."""
    if not inputs.reflection_due:
        return "", 0
    asked = "Rewrite your reflection with update_reflection, from the round trips closed since the last time, in USDC:"
    return _section("Reflection due", "\n".join([asked, *map(trip_group_line, inputs.reflection_due)]), budget)


def _decisions(inputs: PromptInputs, budget: int) -> _Cut:
    return _recent("Last decisions", [decision_line(line) for line in inputs.memory.decisions], budget, "decisions")


def _trips(inputs: PromptInputs, budget: int) -> _Cut:
    return _recent("Round trips", [trip_line(trip) for trip in inputs.memory.trips], budget, "round trips")


def _alert(inputs: PromptInputs, budget: int) -> _Cut:
    alert = inputs.alert
    if alert is None:
        return "", 0
    first = f"Mandatory first action: {one_line(alert.mandatory_action)}"
    return _section("Alert", "\n".join([first, one_line(alert.summary), *payload_lines(alert.payload)]), budget)


_Renderer = Callable[[PromptInputs, int], _Cut]
_LAYERS: Mapping[str, tuple[int, _Renderer]] = {
    "product_rules": (700, lambda _, budget: _section("Rules", PRODUCT_RULES, budget)),
    "mode_rules": (250, lambda i, budget: _section("This turn", mode_rules(i.tick), budget)),
    "tick_info": (150, lambda i, budget: _section("Tick", tick_lines(i.tick), budget)),
    "strategy_intent": (400, lambda i, budget: _pairs("Strategy intent", i.strategy, budget)),
    "body": (4_000, lambda i, budget: _section("Strategy", free_text(i.body), budget)),
    "routines_skills": (400, _available),
    "config": (300, lambda i, budget: _pairs("Config", i.config, budget)),
    "limits": (700, lambda i, budget: _section("Limits", "\n".join(map(limit_line, i.limits)), budget)),
    "risk_state": (80, lambda i, budget: _section("Risk state", risk_line(i.risk), budget)),
    "portfolio_strategy": (500, lambda i, budget: _section("Portfolio strategy", free_text(i.portfolio_strategy), budget)),
    "providers": (1_500, _providers),
    "market_context": (5_000, _market),
    "learnings": (1_500, _learnings),
    "status": (200, lambda i, budget: _section("Status", free_text(i.memory.status), budget)),
    "decisions": (400, _decisions),
    "round_trips": (350, _trips),
    "reflection": (600, _reflection),
    "reflection_due": (400, _reflection_due),
    "pinned_notes": (400, lambda i, budget: _section("Pinned notes of the user", free_text(i.memory.pinned), budget)),
    "canvas": (1_250, lambda i, budget: _slots("Canvas", i.memory.canvas, _CANVAS_SLOT_CHARACTERS, budget)),
    "answers": (200, lambda i, budget: _section("Answers to your suggestions", "\n".join(f"- {one_line(a)}" for a in i.answers), budget)),
    "directives": (400, lambda i, budget: _section("User directives", "\n".join(f"- {one_line(d)}" for d in i.directives), budget)),
    "alert": (500, _alert),
}
_SYSTEM_LAYERS = frozenset(list(_LAYERS)[:10])
