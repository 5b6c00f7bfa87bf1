"""The worker behind the screen: watches the ledger's version and the transcript, and posts what changed. It never writes.

Looking costs microseconds; reading happens when something has changed, and every few seconds because a killed runner
changes nothing. Reading takes at most a third of the time, however fast the ledger moves.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import TradeAgentError
from tradeagent.tui.tail import TranscriptTail
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

if TYPE_CHECKING:
    from tradeagent.tui.glance import AccountPicture, Card, Glance, LedgerView

POLL_S = 0.05
LOOK_ANYWAY_S = 3.0
RETRY_S = 1.0


class GlanceRead(Message):
    """The workspace changed."""

    def __init__(self, glance: "Glance") -> None:
        super().__init__()
        self.glance = glance

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, GlanceRead)


class AccountRead(Message):
    """The chosen deployment's account changed."""

    def __init__(self, picture: "AccountPicture") -> None:
        super().__init__()
        self.picture = picture

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, AccountRead)


class TranscriptRead(Message):
    """The chosen deployment said something. `restarted` = forget what it said before."""

    def __init__(self, deployment: str, text: str, restarted: bool) -> None:
        super().__init__()
        self.deployment = deployment
        self.text = text
        self.restarted = restarted


class FeedTroubled(Message):
    """The ledger cannot be read now; the feed goes on trying."""

    def __init__(self, error: TradeAgentError) -> None:
        super().__init__()
        self.error = error


class Feed:
    """Reads for one screen. `run` is the thread's body; the other methods are called from the screen's thread."""

    def __init__(self, workspace: Workspace, config: Config, clock: Clock, post: Callable[[Message], object]) -> None:
        self._workspace = workspace
        self._config = config
        self._clock = clock
        self._post = post
        self._wake = threading.Event()
        self._stopped = False
        self._chosen = ""
        self._forced = False
        self._view: LedgerView | None = None
        self._version = -1
        self._looked = 0.0
        self._glance: Glance | None = None
        self._tail: TranscriptTail | None = None
        self._shown = ""
        self._trouble = ""

    def choose(self, deployment: str) -> None:
        """Follow this deployment from now on."""
        self._chosen = deployment
        self._wake.set()

    def refresh(self) -> None:
        """Read everything again now."""
        self._forced = True
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopped:
            began = self._clock.monotonic()
            pause = POLL_S
            try:
                self._look()
            except (TradeAgentError, OSError) as error:
                self._trouble_with(error if isinstance(error, TradeAgentError) else _explained(error))
                pause = RETRY_S
            self._wake.wait(max(pause, 2 * (self._clock.monotonic() - began)))
            self._wake.clear()
        self._close()

    def _look(self) -> None:
        view = self._opened()
        version, now = view.version(), self._clock.monotonic()
        chosen, is_time = self._chosen, now - self._looked >= LOOK_ANYWAY_S
        if is_time and view.was_replaced():
            self._close()
            view = self._opened()
        if version != self._version or self._forced or is_time or chosen != self._shown:
            self._forced = False
            self._read(view, chosen)
            self._version, self._looked = version, now
        self._follow(chosen)

    def _opened(self) -> "LedgerView":
        if self._view is None:
            from tradeagent.tui.glance import LedgerView

            self._view = LedgerView(self._workspace, self._config, self._clock)
            self._version = -1
        return self._view

    def _read(self, view: "LedgerView", chosen: str) -> None:
        glance = view.glance()
        if glance != self._glance or self._trouble:
            self._glance, self._trouble = glance, ""
            self._post(GlanceRead(glance))
        card = _card_of(glance, chosen)
        if card is not None:
            self._post(AccountRead(view.account(card)))

    def _follow(self, chosen: str) -> None:
        """Pass on what the chosen deployment's transcript gained."""
        if chosen != self._shown:
            self._shown = chosen
            self._tail = TranscriptTail(self._workspace.threads_dir / f"{chosen}.md") if chosen else None
        if self._tail is None:
            return
        found = self._tail.read()
        if found.text or found.restarted:
            self._post(TranscriptRead(chosen, found.text, found.restarted))

    def _trouble_with(self, error: TradeAgentError) -> None:
        self._close()
        if error.message != self._trouble:
            self._trouble = error.message
            self._post(FeedTroubled(error))

    def _close(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None


def _card_of(glance: "Glance", deployment: str) -> "Card | None":
    return next((card for card in glance.cards if card.id == deployment), None)


def _explained(error: OSError) -> TradeAgentError:
    return TradeAgentError(f"cannot read the workspace: {error}", hint="check that the folder is there and readable", code="unreadable")
