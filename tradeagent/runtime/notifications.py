"""Telling a person elsewhere what a run does: events of its wallet, in plain words, to the channels of config.yml (through Apprise).

A thread of the runner's process follows the event feed; the run never waits for it, and what a channel does not take is an incident, once.
No address and no key is ever part of a message, and no link in one can be followed: words of agents and of the outside world are in them.
"""

import importlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tradeagent.domain.clock import HOUR_MS, Clock
from tradeagent.domain.errors import InvalidConfig, ModelError, NotFound, TradeAgentError
from tradeagent.domain.names import ApprovalState, EventKind, IncidentCode, Level
from tradeagent.ledger import events, notes
from tradeagent.ledger.store import Ledger
from tradeagent.llm.keys import Key, key_place, read_key, scrub
from tradeagent.runtime.ground import Ground
from tradeagent.workspace.config import Config
from tradeagent.workspace.plain_text import visible

DEFAULT_PER_HOUR = 30
POLL_S, PARTING_S = 0.5, 10.0
MOST_AT_ONCE = 20
MAX_TITLE, MAX_BODY = 120, 500
_SECRET_PART = 8
_LEVELS = list(Level)
_KINDS = tuple(
    kind.value for kind in (EventKind.FILL, EventKind.INCIDENT_OPENED, EventKind.APPROVAL_STATE, EventKind.HALT, EventKind.NOTIFICATION)
)
# What mail and chat programs turn into a link by themselves: a host name, with or without https:// before it, and an @mention.
_DOT_OF_A_HOST = re.compile(r"(?<=[A-Za-z0-9])\.(?=[A-Za-z]{2})")


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say, as it happened: keys and links are taken out when it is sent."""

    level: Level
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """`notify.<name>` of config.yml. `url` is where the address is kept, `env:NAME` or `keyring:NAME`."""

    name: str
    url: str | None
    min_level: Level = Level.INFO
    per_hour: int = DEFAULT_PER_HOUR


class Sender(Protocol):
    """What carries a message away; False when it did not."""

    def __call__(self, message: Message) -> bool: ...


@dataclass(slots=True)
class Channel:
    """One way to a person. `held_back` are messages left out since the last one that was sent."""

    settings: ChannelSettings
    send: Sender
    sent_ms: deque[int] = field(default_factory=deque)
    held_back: int = 0

    def deliver(self, message: Message, now_ms: int) -> bool:
        """Send it, unless it is below the channel's level or beyond its rate, which only a critical one may be. False when it failed."""
        if _LEVELS.index(message.level) < _LEVELS.index(self.settings.min_level):
            return True
        while self.sent_ms and self.sent_ms[0] <= now_ms - HOUR_MS:
            self.sent_ms.popleft()
        if len(self.sent_ms) >= self.settings.per_hour and message.level is not Level.CRITICAL:
            self.held_back += 1
            return True
        left_out = f" ({self.held_back} others were held back)" if self.held_back else ""
        self.sent_ms.append(now_ms)
        if not self.send(Message(message.level, message.title, message.body + left_out)):
            return False
        self.held_back = 0
        return True


def channel_settings(config: Config) -> tuple[ChannelSettings, ...]:
    """The channels that are configured, by name."""
    found = []
    for name in sorted({path[1] for path in config.values if path[0] == "notify" and len(path) == 3}):
        given = config.section("notify", name)
        url, per_hour = given.get("url"), given.get("per_hour")
        level = Level(str(given.get("min_level") or Level.INFO.value))
        most = per_hour if isinstance(per_hour, int) else DEFAULT_PER_HOUR
        found.append(ChannelSettings(name, str(url) if url else None, level, most))
    return tuple(found)


def open_channel(settings: ChannelSettings, environment: Mapping[str, str]) -> Channel:
    """A channel ready to send. InvalidConfig when its address is missing or no address; the address is never part of the error."""
    where = f"notify.{settings.name}.url"
    if settings.url is None:
        raise InvalidConfig(f"{where}: missing", hint=f"tradeagent config set {where} env:NAME")
    place = key_place(settings.url, where)
    try:
        address = read_key(place, environment)
    except ModelError as error:
        hint = f"export {place.name}='…' with the channel's Apprise address, like tgram://… or mailto://…"
        raise InvalidConfig(error.message, hint=hint if place.kind == "env" else error.hint) from None
    apprise = _apprise()
    target = apprise.Apprise()
    if not target.add(address.value):
        raise InvalidConfig(
            f"{where}: what is at {settings.url} is no Apprise address", hint="it looks like tgram://…, discord://…, mailto://…"
        )
    kinds = {Level.INFO: "info", Level.WARNING: "warning", Level.ERROR: "failure", Level.CRITICAL: "failure"}
    secrets = [address, *(Key(part) for part in re.split(r"[/:@?&=]+", address.value) if len(part) >= _SECRET_PART)]

    def send(message: Message) -> bool:
        title, body = (scrub(text, environment, secrets) for text in (message.title, message.body))
        kind = kinds[message.level]
        return bool(target.notify(body=_harmless(body, MAX_BODY), title=_harmless(title, MAX_TITLE), notify_type=kind, body_format="text"))

    return Channel(settings, send)


def message_of(row: Mapping[str, Any]) -> Message | None:
    """An event in words; None for one that is no news to a person."""
    data, kind = row["data"], EventKind(row["kind"])
    if kind is EventKind.FILL:
        pnl = f", PnL {data['realised_pnl']} USDC ({data['exit_reason']})" if data.get("exit_reason") else ""
        text = f"{data['side']} {data['size']} {data['market']} at {data['price']}, fee {data['fee']} USDC{pnl}"
        return _message(Level.INFO, row, "fill", text)
    if kind is EventKind.INCIDENT_OPENED:
        return _message(Level(data["level"]), row, f"incident {data['code']}", data["message"])
    if kind is EventKind.APPROVAL_STATE and data["state"] == ApprovalState.WAITING.value:
        plan = " ".join(str(data["plan"][key]) for key in ("side", "size", "market") if data["plan"].get(key))
        text = f"{plan or 'an entry'}; it waits for `tradeagent approval approve {row['subject']}` or decline"
        return _message(Level.WARNING, row, "approval wanted", text)
    if kind is EventKind.HALT and data.get("state") == "cleared":
        return _message(Level.INFO, row, "halt cleared", "entries are possible again")
    if kind is EventKind.NOTIFICATION:
        return _message(Level(data["level"]), row, f"agent {data['agent']} says", f"“{data['text']}”")
    return None


def try_channels(config: Config, name: str | None, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Send a word to one channel or to all: name, whether it was taken, and why not. NotFound when there is no such channel."""
    settings = [one for one in channel_settings(config) if name in (None, one.name)]
    if not settings:
        known = ", ".join(one.name for one in channel_settings(config))
        what = "no channel is configured" if name is None else f"no channel {name!r}"
        raise NotFound(what, hint=f"there are {known}" if known else "tradeagent config set notify.phone.url env:NAME")
    message = Message(Level.CRITICAL, "TradeAgent: a test", "This channel works. Nothing happened.")
    rows = []
    for one in settings:
        error = ""
        try:
            if not open_channel(one, environment).send(message):
                error = "the service did not take it; check the address, and that this machine reaches it"
        except TradeAgentError as problem:
            error = f"{problem.message}; {problem.hint}"
        rows.append({"name": one.name, "sent": not error, "min_level": one.min_level.value, "per_hour": one.per_hour, "error": error})
    return rows


class Notifier:
    """Follows the events of one wallet in a thread of its own, from the moment it starts."""

    def __init__(self, ledger: Ledger, clock: Clock, wallet: str, channels: Sequence[ChannelSettings]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._wallet = wallet
        self._settings = channels
        self._channels: list[Channel] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"notify-{wallet}", daemon=True)
        self._seen, self._version = 0, -1

    def start(self) -> None:
        with self._ledger.reading() as tx:
            newest = events.read(tx, wallet=self._wallet, limit=1, newest=True)
        self._seen = newest[0]["seq"] if newest else 0
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._ended.set()
        self._thread.join(PARTING_S)

    def _follow(self) -> None:
        try:
            self._open()
            while not self._ended.wait(POLL_S):
                self._look()
            self._look()
        except Exception as error:  # noqa: BLE001 -- the boundary of a thread: the run goes on without notifications, and says so
            self._failed(f"notifications ended: {type(error).__name__}", "until the run starts again nobody is told")

    def _open(self) -> None:
        for settings in self._settings:
            try:
                self._channels.append(open_channel(settings, os.environ))
            except TradeAgentError as error:
                self._failed(error.message, error.hint)

    def _look(self) -> None:
        try:
            version = self._ledger.data_version()
            if version == self._version:
                return
            with self._ledger.reading() as tx:
                rows = events.read(tx, after=self._seen, wallet=self._wallet, kinds=_KINDS, limit=10 * MOST_AT_ONCE)
        except TradeAgentError:
            return  # busy: they are still there at the next look
        if rows:
            self._seen = rows[-1]["seq"]
            self._send([message for row in rows if (message := message_of(row)) is not None])
        else:
            self._version = version

    def _send(self, messages: Sequence[Message]) -> None:
        """The newest of them; the rest of a burst is counted."""
        for channel in self._channels:
            channel.held_back += max(0, len(messages) - MOST_AT_ONCE)
            for message in messages[-MOST_AT_ONCE:]:
                if not channel.deliver(message, self._clock.now_ms()):
                    name = channel.settings.name
                    self._failed(f"channel {name} does not take notifications", f"tradeagent notify test {name}")

    def _failed(self, message: str, hint: str) -> None:
        """An incident, once while it is open."""
        incident = notes.Incident(IncidentCode.NOTIFY_FAILED, Level.WARNING, message, self._wallet, details={"hint": hint})
        try:
            with self._ledger.transaction(durable=False) as tx:
                notes.open_incident(tx, self._clock.new_id(), incident, self._clock.now_ms())
        except TradeAgentError:
            return  # the ledger is busy or gone: the run itself will say so


def notifier_of(ground: Ground) -> Notifier | None:
    """Who tells people about this run; nobody when no channel is configured, in a dry run, and in a replay that nobody watches."""
    channels = channel_settings(ground.place.config)
    watched = not ground.is_replay or ground.pace.speed > 0
    if not channels or ground.is_dry or not watched:
        return None
    return Notifier(ground.ledger, ground.place.clock, ground.wallet.name, channels)


def _message(level: Level, row: Mapping[str, Any], what: str, text: str) -> Message:
    who = row["deployment"] or row["wallet"] or "workspace"
    return Message(level, f"TradeAgent {who}: {what}", text)


def _harmless(text: str, most: int) -> str:
    """One line of plain text in which nothing is a link, a picture or a mention."""
    line = " ".join(visible(text).split())
    line = _DOT_OF_A_HOST.sub("[.]", line.replace("://", "[:]//").replace("@", "(at)"))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _apprise() -> Any:
    """The library, which is an extra, silent: what it logs holds addresses."""
    try:
        library = importlib.import_module("apprise")
    except ImportError:
        raise InvalidConfig("notify: Apprise is not installed", hint="pip install 'tradeagent[notify]'") from None
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return library
