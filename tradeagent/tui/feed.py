"""The worker behind the screen: watches the ledger's version and the transcript, and tells what changed. It never writes.

Looking costs microseconds. When something has changed, events are read at once, and accounts at most five times a second; both
every few seconds anyway, because a killed runner changes nothing. News that the screen has not taken yet are replaced, not queued.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import DataError, TradeAgentError
from tradeagent.tui.tail import Tailed, TranscriptTail
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

if TYPE_CHECKING:
    from tradeagent.tui.glance import AccountPicture, Glance, Happening, LedgerView

POLL_S = 0.03
POLL_AT_REST_S = 0.25
READ_AGAIN_S = 0.2
LOOK_ANYWAY_S = 3.0
RETRY_S = 1.0


@dataclass(slots=True)
class News:
    """What changed since the last look: the newest state of each kind, and everything `deployment` said meanwhile."""

    glance: "Glance | None" = None
    picture: "AccountPicture | None" = None
    happenings: "tuple[Happening, ...] | None" = None
    deployment: str = ""
    spoken: list[Tailed] = field(default_factory=list)
    error: TradeAgentError | None = None


class Feed:
    """Reads for one screen. `run` is the thread's body, `announce` is called in it; the other methods are for the screen."""

    def __init__(self, workspace: Workspace, config: Config, clock: Clock, announce: Callable[[], object]) -> None:
        self._workspace = workspace
        self._config = config
        self._clock = clock
        self._announce = announce
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._news = News()
        self._announced = False
        self._stopped = False
        self._chosen = ("", 0)
        self._forced = False
        self._view: LedgerView | None = None
        self._version = -1
        self._looked = 0.0
        self._owed = True
        self._glance: Glance | None = None
        self._happenings: tuple[Happening, ...] | None = None
        self._tail: TranscriptTail | None = None
        self._shown = ("", 0)
        self._trouble = ""

    def choose(self, deployment: str) -> None:
        """Follow this deployment from now on, and tell the end of its transcript again even if it was the one before."""
        self._chosen = (deployment, self._chosen[1] + 1)
        self._wake.set()

    def refresh(self) -> None:
        """Read everything again now."""
        self._forced = True
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def take(self) -> News:
        """The news since the last call."""
        with self._lock:
            news, self._news, self._announced = self._news, News(), False
        return news

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopped:
            began = self._clock.monotonic()
            try:
                self._look()
                pause = POLL_S if self._runs else POLL_AT_REST_S
            except (TradeAgentError, OSError) as error:
                self._stumble(error if isinstance(error, TradeAgentError) else DataError(f"the workspace cannot be read: {error}"))
                pause = RETRY_S
            took = self._clock.monotonic() - began
            self._wake.wait(max(pause - took, took / 2))
            self._wake.clear()
        self._close()

    @property
    def _runs(self) -> bool:
        """Whether anything runs that could change something by itself."""
        return self._glance is None or any(card.is_live for card in self._glance.cards)

    def _look(self) -> None:
        now = self._clock.monotonic()
        is_time = now - self._looked >= LOOK_ANYWAY_S
        if is_time and self._view is not None and self._view.was_replaced():
            self._close()
        view, chosen = self._opened(), self._chosen
        version = view.version()
        if version != self._version:
            self._version, self._owed = version, True
            self._read_events(view)
        is_due = self._owed and now - self._looked >= READ_AGAIN_S
        if is_due or is_time or self._forced or chosen != self._shown:
            self._forced, self._owed, self._looked = False, False, now
            self._read(view, chosen[0])
        self._follow(chosen)

    def _opened(self) -> "LedgerView":
        if self._view is None:
            from tradeagent.tui.glance import LedgerView

            self._view = LedgerView(self._workspace, self._config, self._clock)
            self._version = -1
        return self._view

    def _read_events(self, view: "LedgerView") -> None:
        happenings = view.happenings()
        if happenings != self._happenings:
            self._happenings = happenings
            with self._lock:
                self._news.happenings = happenings
            self._tell()

    def _read(self, view: "LedgerView", chosen: str) -> None:
        glance = view.glance()
        card = next((card for card in glance.cards if card.id == chosen), None)
        picture = view.account(card) if card is not None else None
        is_new = glance != self._glance or bool(self._trouble)
        self._glance, self._trouble = glance, ""
        with self._lock:
            if is_new:
                self._news.glance, self._news.error = glance, None
            self._news.picture = picture or self._news.picture
        if is_new or picture is not None:
            self._tell()

    def _follow(self, chosen: tuple[str, int]) -> None:
        """Pass on what the chosen deployment's transcript gained."""
        deployment = chosen[0]
        if chosen != self._shown:
            self._shown = chosen
            self._tail = TranscriptTail(self._workspace.threads_dir / f"{deployment}.md") if deployment else None
        found = self._tail.read() if self._tail is not None else Tailed("")
        if not found.text and not found.restarted:
            return
        with self._lock:
            if self._news.deployment != deployment or found.restarted:
                self._news.deployment, self._news.spoken = deployment, []
            self._news.spoken.append(found)
        self._tell()

    def _stumble(self, error: TradeAgentError) -> None:
        self._close()
        if error.message != self._trouble:
            self._trouble = error.message
            with self._lock:
                self._news.error = error
            self._tell()

    def _tell(self) -> None:
        """Announce once; until the news are taken, more of them need no announcement."""
        with self._lock:
            announced, self._announced = self._announced, True
        if not announced:
            self._announce()

    def _close(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
