"""Asking a web address, the one door for plain HTTP reads: bounded in time, size and attempts, and no address's secrets in an error.

It blocks: from asynchronous code call it in a worker thread. Models and signed orders have doors of their own.
"""

import asyncio
import email.utils
import ipaddress
import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from tradeagent.domain.clock import Clock, to_ms
from tradeagent.domain.errors import RefusedError, VenueError

if TYPE_CHECKING:
    import httpx

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often to try. Waits double from `backoff_s` up to `longest_wait_s`, each varied by up to a half."""

    connect_s: float = 5.0
    silence_s: float = 20.0
    total_s: float = 60.0
    attempts: int = 5
    backoff_s: float = 0.5
    longest_wait_s: float = 15.0
    max_bytes: int = 32_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with status 200. `server_ms` is its Date header (UTC ms), None when it has none; `attempts` counts this one."""

    body: bytes
    server_ms: int | None
    attempts: int


class Reach:
    """The hosts that may be asked, at every hop of a redirect. A name that leads to this machine or a private net is refused; such an
    address is asked only when it is listed itself."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)

    def require(self, url: str) -> None:
        """RefusedError `host_not_allowed` unless `url` may be asked."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme not in ("http", "https") or host not in self._hosts:
            raise RefusedError(
                f"url: {_host(url)} is not on the list of hosts that may be read",
                hint="only the user can add it: tradeagent config set web.allowed_hosts HOST,HOST",
                code="host_not_allowed",
            )
        if not _is_address(host) and not all(address.is_global for address in _addresses(host)):
            raise RefusedError(
                f"url: {_host(url)} leads to a private address", hint="the user may list the address itself", code="host_not_allowed"
            )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Where a name leads; nothing when it leads nowhere, which the connection will say."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found]


class _Failed(Exception):
    """One attempt went wrong in a way that trying again may mend."""

    def __init__(self, why: str, wait_s: float | None = None):
        super().__init__(why)
        self.wait_s = wait_s


class Web:
    """One host's or several hosts' answers. Raises VenueError with `hint`; waits and chance come from the clock. `reach` limits where
    it goes; without it anywhere."""

    def __init__(self, clock: Clock, hint: str, patience: Patience | None = None, reach: Reach | None = None) -> None:
        self._clock = clock
        self._hint = hint
        self._patience = patience or Patience()
        self._reach = reach
        self._clients: dict[bool, httpx.Client] = {}

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The body at `url`, redirects followed."""
        return self._ask("GET", url, None, headers or {}, lambda: None)

    def post(self, url: str, body: object, before_attempt: Callable[[], None] = lambda: None) -> Reply:
        """The answer to a JSON body; `before_attempt` is called each time the wire is used, for rate budgets."""
        return self._ask("POST", url, json.dumps(body).encode(), {"Content-Type": "application/json"}, before_attempt)

    def probe(self, url: str) -> tuple[int, int | None]:
        """Whoever answers at `url`: the status of the first answer, whatever it is, and its Date (UTC ms)."""
        import httpx

        try:
            with self._client(url).stream("GET", url) as response:
                return response.status_code, _server_ms(response)
        except httpx.TimeoutException:
            self._give_up(f"{_host(url)}: was silent for {self._patience.silence_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._give_up(f"{_host(url)}: the connection failed ({type(error).__name__})")

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def wait(self, seconds: float) -> None:
        """Sleep in the clock's time."""
        asyncio.run(self._clock.sleep(seconds))

    def _ask(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], before_attempt: Callable[[], None]) -> Reply:
        host = _host(url)
        for attempt in range(1, self._patience.attempts + 1):
            before_attempt()
            try:
                body, server_ms = self._once(method, url, content, headers)
            except _Failed as failed:
                if attempt == self._patience.attempts:
                    self._give_up(f"{host}: {failed}, {attempt} times")
                self.wait(self._pause(attempt) if failed.wait_s is None else min(failed.wait_s, self._patience.total_s))
            else:
                return Reply(body, server_ms, attempt)
        raise AssertionError("attempts is at least 1")

    def _once(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> tuple[bytes, int | None]:
        import httpx

        began = self._clock.monotonic()
        try:
            with self._client(url).stream(method, url, content=content, headers=dict(headers)) as response:
                if response.status_code in _RETRIED:
                    raise _Failed(f"answered {response.status_code}", _retry_after(response))
                if response.status_code != 200:
                    self._give_up(f"{_host(url)}: answered {response.status_code} to {method}, which trying again does not mend")
                read = bytearray()
                for chunk in response.iter_bytes():
                    read += chunk
                    if len(read) > self._patience.max_bytes:
                        self._give_up(f"{_host(url)}: the answer is longer than {self._patience.max_bytes:,} bytes")
                    if self._clock.monotonic() - began > self._patience.total_s:
                        raise _Failed(f"did not end its answer within {self._patience.total_s:g} s")
        except httpx.TimeoutException:
            raise _Failed(f"was silent for {self._patience.silence_s:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Failed(f"the connection failed ({type(error).__name__})") from None
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            self._give_up(f"{_host(url)}: the address cannot be read ({type(error).__name__})")
        return bytes(read), _server_ms(response)

    def _client(self, url: str) -> "httpx.Client":
        import httpx

        # A proxy of the environment is for the world outside, not for a server on this machine.
        is_near = (urlsplit(url).hostname or "") in _LOOPBACK
        if is_near not in self._clients:
            self._clients[is_near] = httpx.Client(
                timeout=httpx.Timeout(self._patience.silence_s, connect=self._patience.connect_s),
                follow_redirects=True,
                max_redirects=_MAX_REDIRECTS,
                trust_env=not is_near,
                headers={"User-Agent": "tradeagent"},
                event_hooks={"request": [self._check]},
            )
        return self._clients[is_near]

    def _check(self, request: "httpx.Request") -> None:
        if self._reach is not None:
            self._reach.require(str(request.url))

    def _pause(self, attempt: int) -> float:
        longest = min(self._patience.backoff_s * 2.0 ** (attempt - 1), self._patience.longest_wait_s)
        return longest * (0.5 + self._clock.chance().random() / 2)

    def _give_up(self, message: str) -> NoReturn:
        raise VenueError(message, hint=self._hint)


def _host(url: str) -> str:
    """Host and port: what an error may show of an address that may hold a token."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _retry_after(response: "httpx.Response") -> float | None:
    text = str(response.headers.get("Retry-After", ""))
    return float(text) if text.isascii() and text.isdigit() else None


def _server_ms(response: "httpx.Response") -> int | None:
    try:
        return to_ms(email.utils.parsedate_to_datetime(response.headers.get("Date", "")))
    except (ValueError, TypeError):
        return None
