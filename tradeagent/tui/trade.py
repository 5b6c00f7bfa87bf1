"""The Trade screen: deployments on the left, the chosen agent's ticks in the middle, its account on the right, events below."""

import gc
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, OptionList
from textual.worker import Worker, WorkerState

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import Defect, TradeAgentError
from tradeagent.domain.names import CommandKind, DeploymentState
from tradeagent.tui.account import AccountPane
from tradeagent.tui.actions import TRADE_ACTIONS, bindings
from tradeagent.tui.banner import Banner, Notice
from tradeagent.tui.commands import answer, give, kill, killed
from tradeagent.tui.deployments import Deployments
from tradeagent.tui.doors import Doors
from tradeagent.tui.feed import Feed
from tradeagent.tui.modals import Confirm, Directive, help_page, incidents_page
from tradeagent.tui.stream import TickStream
from tradeagent.tui.ticker import Ticker
from tradeagent.workspace.config import Config
from tradeagent.workspace.paths import Workspace

if TYPE_CHECKING:
    from tradeagent.tui.glance import AccountPicture, Card, Glance

FEED, COMMANDS = "feed", "commands"
_NEEDS_DEPLOYMENT = frozenset(action.name for action in TRADE_ACTIONS if action.needs_deployment)


@runtime_checkable
class Copied(Protocol):
    """A pane that says what `y` copies from it."""

    def copied_text(self) -> str: ...


class FeedMoved(Message):
    """The feed has news."""


class TradeScreen(Screen[None]):
    """Shows what the feed reads and gives commands; everything slow runs in threads."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(TRADE_ACTIONS)
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (104, "-normal"), (150, "-wide")]  # noqa: RUF012  # Textual declares it so
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012  # Textual declares it so
    AUTO_FOCUS = "Deployments"

    def __init__(self, workspace: Workspace, config: Config, clock: Clock) -> None:
        super().__init__()
        self._workspace = workspace
        self._config = config
        self._clock = clock
        self._feed = Feed(workspace, config, clock, lambda: self.post_message(FeedMoved()))
        self._glance: Glance | None = None
        self._picture: AccountPicture | None = None
        self._followed = ""
        self._is_troubled = False
        self._given: dict[Worker[Any], tuple[str, str]] = {}

    def compose(self) -> ComposeResult:
        yield Banner(str(self._workspace.root))
        yield Notice()
        with Horizontal(id="body"):
            yield Deployments()
            yield TickStream()
            yield Doors()
            yield AccountPane()
        yield Ticker()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.set_interval(1.0, self._second)
        self.call_after_refresh(self._start_feed)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit)

    def on_unmount(self) -> None:
        self._feed.stop()
        gc.unfreeze()

    @property
    def cards(self) -> "tuple[Card, ...]":
        return self._glance.cards if self._glance is not None else ()

    @property
    def chosen(self) -> "Card | None":
        return self.query_one(Deployments).chosen

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands are greyed out while there is no deployment to command; the account needs its key only where it hides."""
        if action == "toggle_account":
            return self.has_class("-narrow")
        return None if action in _NEEDS_DEPLOYMENT and self.is_mounted and self.chosen is None else True

    def _fit(self) -> None:
        """After the size classes have changed: the footer has no room for the palette's key on a narrow terminal."""
        self.query_one(Footer).show_command_palette = not self.has_class("-narrow")
        self.refresh_bindings()

    # What the feed tells

    def _start_feed(self) -> None:
        self.run_worker(self._feed.run, name=FEED, group=FEED, thread=True, exit_on_error=False, exclusive=True)

    @on(FeedMoved)
    def _take_news(self) -> None:
        news = self._feed.take()
        if news.error is not None:
            self._is_troubled = True
            self.query_one(Notice).say(news.error)
            self._show_account()
            if self._glance is None:
                self.query_one(Banner).wait()
        if news.happenings is not None:
            self.query_one(Ticker).show(news.happenings)
        if news.glance is not None:
            self._show_glance(news.glance)
        if news.picture is not None and self.chosen is not None and news.picture.card.id == self.chosen.id:
            self._picture = news.picture
            self._show_account()
            self.query_one(TickStream).show_of(self.chosen, news.picture)
        if self.chosen is not None and news.deployment == self.chosen.id:
            stream = self.query_one(TickStream)
            for said in news.spoken:
                if said.restarted:
                    stream.restart()
                stream.add(said.text)

    def _show_glance(self, glance: "Glance") -> None:
        if self._glance is None and not self.app.is_headless:
            # What is loaded by now stays: without it the collector's pauses are shorter than a frame (measured: 350 ms before).
            gc.freeze()
        self._glance, self._is_troubled = glance, False
        self.query_one(Notice).clear()
        self.query_one(Banner).show(glance)
        self.set_class(not glance.cards, "-empty")
        self.query_one(Deployments).show(glance.cards, self._clock.now_ms())

    def _show_account(self) -> None:
        self.query_one(AccountPane).show(self._picture, self._clock.now_ms(), trouble=self._is_troubled)

    def _second(self) -> None:
        """Countdowns and ages move with the wall clock; only what reads differently is drawn."""
        if not any(card.is_live and card.replay is None for card in self.cards):
            return
        now = self._clock.now_ms()
        self.query_one(Deployments).redraw(now)
        self.query_one(AccountPane).redraw(now)

    @on(OptionList.OptionHighlighted)
    def _follow_choice(self) -> None:
        card = self.chosen
        if card is None or card.id == self._followed:
            return
        self._followed, self._picture = card.id, None
        self._show_account()
        stream = self.query_one(TickStream)
        stream.restart()
        stream.show_of(card)
        self._feed.choose(card.id)
        self.refresh_bindings()

    @on(OptionList.OptionSelected)
    def _read_choice(self) -> None:
        self.action_focus_stream()

    # What a person does

    def action_next_deployment(self) -> None:
        self.query_one(Deployments).action_cursor_down()

    def action_previous_deployment(self) -> None:
        self.query_one(Deployments).action_cursor_up()

    def action_choose(self, deployment: str) -> None:
        self.query_one(Deployments).choose(deployment)

    def action_focus_stream(self) -> None:
        self.remove_class("-account")
        self.query_one(TickStream).focus()

    def action_focus_list(self) -> None:
        self.clear_selection()
        self.query_one(Deployments).focus()

    def action_toggle_account(self) -> None:
        self.toggle_class("-account")
        if self.has_class("-account"):
            self.query_one(AccountPane).focus()
        else:
            self.query_one(Deployments).focus()

    def action_stop(self) -> None:
        self._command(CommandKind.STOP)

    def action_pause(self) -> None:
        card = self.chosen
        is_paused = card is not None and card.state is DeploymentState.PAUSED
        self._command(CommandKind.RESUME if is_paused else CommandKind.PAUSE)

    def action_flatten(self) -> None:
        card = self.chosen
        if card is None:
            return
        question = f"Flatten {card.id} on {card.wallet}?"
        consequence = f"Cancels every order, closes {card.open_positions} position(s) at the market, then pauses the agent."

        def decided(is_yes: bool | None) -> None:
            if is_yes:
                self._command(CommandKind.FLATTEN, deployment=card.id)

        self.app.push_screen(Confirm(question, consequence, "Flatten"), decided)

    def action_kill(self) -> None:
        card = self.chosen
        if card is None:
            return
        question = f"Kill {card.id} on {card.wallet}?"
        consequence = (
            f"No new order leaves from now on, also when its runner is stuck. Orders are cancelled, {card.open_positions} position(s)"
            f" closed as on_kill_switch says. Only `tradeagent kill {card.id} --clear` undoes it."
        )

        def decided(is_yes: bool | None) -> None:
            if is_yes:
                self._work("kill", card.id, partial(kill, self._workspace, self._clock, card.id))

        self.app.push_screen(Confirm(question, consequence, "Kill"), decided)

    def action_directive(self) -> None:
        card = self.chosen
        if card is None:
            return

        def written(text: str | None) -> None:
            if text:
                self._command(CommandKind.DIRECTIVE, {"text": text}, deployment=card.id)

        self.app.push_screen(Directive(card.id), written)

    def action_incidents(self) -> None:
        glance = self._glance
        self.app.push_screen(incidents_page(glance.incidents if glance else (), glance.open_incidents if glance else 0))

    def action_help(self) -> None:
        self.app.push_screen(help_page(TRADE_ACTIONS))

    def action_refresh(self) -> None:
        if not any(worker.group == FEED and worker.is_running for worker in self.workers):
            self._start_feed()
        self._feed.refresh()

    def action_copy(self) -> None:
        text = self.get_selected_text() or (self.focused.copied_text() if isinstance(self.focused, Copied) else "")
        if text:
            self.app.copy_to_clipboard(text)
            self.notify(f"{len(text)} characters copied", markup=False, timeout=2)

    # Commands

    def _command(self, kind: CommandKind, payload: dict[str, Any] | None = None, *, deployment: str = "") -> None:
        """Give a command from a thread; the card shows that it waits until the answer comes."""
        name = deployment or (self.chosen.id if self.chosen is not None else "")
        self._work(kind.value, name, partial(give, self._workspace, self._config, self._clock, name, kind, payload or {}))

    def _work(self, what: str, name: str, work: Callable[[], dict[str, Any]]) -> None:
        worker: Worker[Any] = self.run_worker(work, name=f"{what} {name}", group=COMMANDS, thread=True, exit_on_error=False)
        self._given[worker] = (name, what)
        self.query_one(Deployments).mark(name, what, self._clock.now_ms())

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A thread ended: a command with its answer, or the feed with a defect."""
        worker = event.worker
        if event.state not in (WorkerState.SUCCESS, WorkerState.ERROR):
            return
        if worker in self._given:
            name, what = self._given.pop(worker)
            self.query_one(Deployments).mark(name, "", self._clock.now_ms())
            self._answered(f"{what} {name}", worker)
            self._feed.refresh()
        elif worker.error is not None:
            self.query_one(Notice).say(_named(worker.error, "press r to read again"))

    def _answered(self, what: str, worker: Worker[Any]) -> None:
        if worker.error is None:
            result = worker.result or {}
            self.notify(f"{what}: {killed(result) if 'latched_ms' in result else answer(result)}", markup=False)
            return
        error = _named(worker.error, "")
        hint = f"\n{error.hint}" if error.hint else ""
        self.notify(Content(f"{error.message}{hint}").plain, title=what, severity="error", timeout=10, markup=False)


def _named(error: BaseException, hint: str) -> TradeAgentError:
    """An error as it is told; what has no name of its own is a defect."""
    return error if isinstance(error, TradeAgentError) else Defect(f"{type(error).__name__}: {error}", hint=hint)
