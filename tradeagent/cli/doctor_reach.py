"""What `doctor` asks the network: whether the models' servers and the venue answer, and how far our clock is from theirs."""

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from tradeagent.cli.session import Session
from tradeagent.domain.clock import Clock, iso
from tradeagent.domain.errors import TradeAgentError, VenueError
from tradeagent.workspace.web import Patience, Web

BOUND_S = 2.0
MAX_SKEW_S = 5.0
_NOBODY_BEHIND = (502, 503, 504)
Finding = tuple[bool, str, str]


@dataclass(frozen=True, slots=True)
class Probe:
    """What asking an address came to: `problem` is empty when something answers; `skew_s` is how far its clock is ahead of ours."""

    problem: str = ""
    skew_s: float | None = None


class Reached:
    """The answers of every address that this workspace names, asked all at once when the first is wanted."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def clock(self) -> Finding:
        """Our clock against the first that tells its time: the venue's, then the models' servers'."""
        now = f"{iso(self._session.clock.now_ms())} UTC"
        skew = next((probe.skew_s for probe in self._probes.values() if probe.skew_s is not None), None)
        if skew is None:
            return True, f"{now}; nobody was there to compare it with", ""
        ahead = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the servers asked"
        return abs(skew) <= MAX_SKEW_S, f"{now}, {ahead}", "let the system set its clock: `timedatectl set-ntp true`, or chrony"

    def venue(self) -> Finding:
        """The venue: needed by wallets on it and by `data fetch`; trading on paper goes on without it."""
        from tradeagent.ledger import wallets

        problem = self._probes[self._venue].problem
        with self._session.ledger.reading() as tx:
            needed = [row.name for row in wallets.all_wallets(tx) if row.venue != "paper"]
        if not problem:
            return True, f"{self._venue} answers", ""
        problem = f"{self._venue}: {problem}"
        if not needed:
            return True, f"{problem}; paper does without it, `tradeagent data fetch` does not", ""
        return False, f"{problem}; needed by {', '.join(needed)}", "check the network and `hyperliquid.url` in config.yml"

    def models(self) -> Finding:
        """The servers of the models that agents and the assistant use, where an address of their own is configured."""
        servers = self._servers
        bad = [f"{model}: {self._probes[url].problem}" for model, url in servers.items() if self._probes[url].problem]
        if bad:
            return False, "; ".join(bad), "start the server, or correct models.<id>.base_url in config.yml"
        return True, ", ".join(f"{model} answers" for model in servers) or "no model has an address of its own", ""

    @property
    def _venue(self) -> str:
        return self._session.config.text("hyperliquid.url") or ""

    @cached_property
    def _servers(self) -> dict[str, str]:
        from tradeagent.agents.folder import list_agents, load_agent
        from tradeagent.llm.settings import model_settings
        from tradeagent.tools.known import known_to_agents

        config = self._session.config
        settings, known = model_settings(config, os.environ), known_to_agents(config)
        used = {config.text("assistant.model") or ""}
        for folder in list_agents(self._session.workspace.agents_dir):
            with suppress(TradeAgentError):  # the check of agents says what is wrong with it
                used.add(load_agent(folder, known).definition.model)
        return {model: url for model in sorted(used) if (url := settings.base_url(model))}

    @cached_property
    def _probes(self) -> dict[str, Probe]:
        return probed([self._venue, *self._servers.values()], self._session.clock)


def probed(urls: Iterable[str], clock: Clock) -> dict[str, Probe]:
    """Ask addresses side by side, for `BOUND_S` in all."""
    found: dict[str, Probe] = {url: Probe(f"no answer within {BOUND_S:g} s") for url in urls}

    def ask(url: str) -> None:
        probe = _probe(url, clock)
        if not is_over.is_set():
            found[url] = probe

    is_over = threading.Event()
    # Looking a name up cannot be timed: a thread that is still at it is left behind.
    asking = [threading.Thread(target=ask, args=(url,), daemon=True) for url in found]
    began = clock.monotonic()
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(max(0.0, BOUND_S + 0.2 - (clock.monotonic() - began)))
    is_over.set()
    return found


def _probe(url: str, clock: Clock) -> Probe:
    web = Web(clock, "check the network", Patience(connect_s=BOUND_S, silence_s=BOUND_S))
    try:
        status, server_ms = web.probe(url)
    except VenueError as error:
        return Probe(error.message.partition(": ")[2])
    finally:
        web.close()
    # a Date is in whole seconds, rounded down
    skew = None if server_ms is None else (server_ms + 500 - clock.now_ms()) / 1000
    return Probe(f"answered {status}, nobody is behind it" if status in _NOBODY_BEHIND else "", skew)
