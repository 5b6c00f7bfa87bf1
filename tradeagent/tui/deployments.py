"""The list of deployments: state, whose money, equity, the day so far, and when the next tick comes."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tradeagent.domain.clock import to_datetime
from tradeagent.tui.text import badge, badge_style, clip, countdown, money, signed, tone

if TYPE_CHECKING:
    from tradeagent.tui.glance import Card

_STATE_STYLES = {"running": "$text-success", "paused": "$text-warning", "halted": "bold $text-error", "error": "bold $text-error"}
_STATE_STYLES |= {"interrupted": "$text-error", "stopping": "$text-warning"}


class Deployments(OptionList):
    """Three lines a deployment. `pending` names a command that waits for its answer."""

    BORDER_TITLE = "deployments"

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._cards: tuple[Card, ...] = ()
        self._pending: dict[str, str] = {}
        self._drawn: list[str] = []
        self._now_ms = 0

    @property
    def chosen(self) -> "Card | None":
        index = self.highlighted
        return self._cards[index] if index is not None and index < len(self._cards) else None

    def show(self, cards: "tuple[Card, ...]", now_ms: int) -> None:
        """Redraw; the choice stays on its deployment, or moves to the next run of the same agent and wallet."""
        before, self._now_ms = self.chosen, now_ms
        is_same = [card.id for card in cards] == [card.id for card in self._cards]
        self._cards = cards
        if is_same:
            self.redraw(now_ms)
            return
        prompts = [self._prompt(card, now_ms) for card in cards]
        self._drawn = [prompt.plain for prompt in prompts]
        with self.prevent(OptionList.OptionHighlighted):
            self.set_options(Option(prompt) for prompt in prompts)
        self.highlighted = _place_of(before, cards)

    def redraw(self, now_ms: int) -> None:
        """Draw again the cards whose text changed, for instance because a second has passed."""
        self._now_ms = now_ms
        for index, card in enumerate(self._cards):
            prompt = self._prompt(card, now_ms)
            if prompt.plain != self._drawn[index]:
                self._drawn[index] = prompt.plain
                self.replace_option_prompt_at_index(index, prompt)

    def choose(self, deployment: str) -> None:
        """Move the choice to a deployment by its id."""
        self.highlighted = next((i for i, card in enumerate(self._cards) if card.id == deployment), self.highlighted)

    def mark(self, deployment: str, waiting: str, now_ms: int) -> None:
        """Show that a command waits for its answer; an empty text takes the mark away."""
        self._pending[deployment] = waiting
        self.redraw(now_ms)

    def copied_text(self) -> str:
        index = self.highlighted
        return self._drawn[index] if index is not None else ""

    def on_resize(self, event: Resize) -> None:
        self.redraw(self._now_ms)

    def _prompt(self, card: "Card", now_ms: int) -> Content:
        width = max(18, self.scrollable_content_region.width - 2)
        label = badge(card.network) if card.mode.value != "dry_run" else "DRY RUN"
        pending = self._pending.get(card.id, "")
        state = f"{pending} …" if pending else card.state.value + (f" ({card.halt})" if card.halt else "")
        when = (f"{card.open_positions} open  " if card.open_positions else "") + _next_tick(card, now_ms)
        pnl = f"{signed(card.day_pnl)} day"
        alarm = f" !{card.incidents}" if card.incidents else ""
        return Content.assemble(
            *_ends(clip(card.id, width - len(label) - 1), "bold", label, badge_style(card.network), width),
            "\n",
            *_ends(clip(state + alarm, width - len(when) - 1), _STATE_STYLES.get(card.state.value, "dim"), when, "dim", width),
            "\n",
            *_ends(money(card.equity), "", pnl, tone(card.day_pnl), width),
        )


def _ends(left: str, left_style: str, right: str, right_style: str, width: int) -> tuple[tuple[str, str], str, tuple[str, str]]:
    return (left, left_style), " " * max(1, width - len(left) - len(right)), (right, right_style)


def _next_tick(card: "Card", now_ms: int) -> str:
    """A countdown on the wall clock; under a replay the market time that comes next, as its clock stands between ticks."""
    if not card.is_live or card.next_ms is None:
        return f"tick {card.ticks}"
    if card.replay is not None:
        return f"next {to_datetime(card.next_ms):%H:%M}"
    return f"next {countdown((card.next_ms - now_ms) / 1000)}"


def _place_of(before: "Card | None", cards: "tuple[Card, ...]") -> int | None:
    if before is None:
        return 0 if cards else None
    same = [i for i, card in enumerate(cards) if card.id == before.id]
    follows = [i for i, card in enumerate(cards) if (card.slug, card.wallet) == (before.slug, before.wallet)]
    return next(iter([*same, *follows]), 0 if cards else None)
