"""A stand-in for the venue's info endpoint on this machine: real HTTP over recorded answers and any series, for tests and demos.

It keeps the venue's habits (hyperliquid.md §5): only the newest candles exist, the candle that contains startTime is answered, the last
candle is still open, 500 payments an answer, `null` with 429 and 500. What goes wrong is put into `faults`, one for each request.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tradeagent.domain.bars import interval_text, parse_duration
from tradeagent.hyperliquid.client import MAX_CANDLES, MAX_PAYMENTS, Candles, Payments

_MAX_REQUEST = 1 << 20
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request: a status, a wait, a connection cut after `cut_after` bytes of the answer, or other bytes as answer."""

    status: int = 200
    wait_s: float = 0.0
    cut_after: int | None = None
    body: bytes | None = None
    retry_after: int | None = None


@dataclass(slots=True, eq=False)
class Served:
    """What the server knows. `now_ms` is its time: a candle that has not ended by it is still open, later ones do not exist.

    `answers` are by request type; `kept` is how many candles of a series exist.
    """

    now_ms: Callable[[], int]
    answers: Mapping[str, Any] = field(default_factory=dict)
    candles: Mapping[tuple[str, int], Candles] = field(default_factory=dict)
    payments: Mapping[str, Payments] = field(default_factory=dict)
    kept: int = MAX_CANDLES


class InfoServer:
    """Serves on a free port of 127.0.0.1 from `with` to its end. `requests` are the bodies received, in order."""

    def __init__(self, served: Served, faults: Sequence[Fault | None] = ()) -> None:
        self.served = served
        self.faults: deque[Fault | None] = deque(faults)
        self.requests: list[Body] = []
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "InfoServer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def note(self, body: Body) -> Fault:
        """Record a request and take its fault."""
        with self._lock:
            self.requests.append(body)
            fault = self.faults.popleft() if self.faults else None
        return fault or Fault()

    def answer(self, body: Body) -> tuple[int, Any]:
        """Status and answer of one request."""
        kind = str(body.get("type"))
        if kind == "candleSnapshot":
            return self._candles(body.get("req") or {})
        if kind == "fundingHistory":
            return self._payments(body)
        if kind in self.served.answers:
            return 200, self.served.answers[kind]
        return 422, "Failed to deserialize the JSON body into the target type"

    def _candles(self, asked: Body) -> tuple[int, Any]:
        interval_ms = parse_duration(str(asked.get("interval")))
        series = self.served.candles.get((str(asked.get("coin")), interval_ms))
        if series is None:
            return 500, None
        known = int(np.searchsorted(series.ts, self.served.now_ms(), side="right"))
        first = max(0, known - self.served.kept, int(np.searchsorted(series.ts, asked["startTime"] - interval_ms, side="right")))
        stop = min(known, int(np.searchsorted(series.ts, asked["endTime"], side="right")), first + MAX_CANDLES)
        shared = {"s": asked["coin"], "i": interval_text(interval_ms), "n": 1}
        return 200, [_candle(series, row, interval_ms) | shared for row in range(first, stop)]

    def _payments(self, asked: Body) -> tuple[int, Any]:
        series = self.served.payments.get(str(asked.get("coin")))
        if series is None:
            return 500, None
        until = min(int(asked.get("endTime", 2**62)), self.served.now_ms())
        first = int(np.searchsorted(series.ts, int(asked["startTime"])))
        stop = int(np.searchsorted(series.ts, until, side="right"))
        rows = range(first, min(stop, first + MAX_PAYMENTS))
        return 200, [
            {"coin": asked["coin"], "time": int(series.ts[i]), "fundingRate": f"{series.rate[i]:.10f}", "premium": "0.0"} for i in rows
        ]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: InfoServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it each answer waits 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        owner = self.server.owner
        body = self._body()
        if self.path != "/info" or body is None:
            self._send(Fault(status=404 if body is not None else 400), b"null")
            return
        fault = owner.note(body)
        if fault.wait_s:
            time.sleep(fault.wait_s)
        status, answer = owner.answer(body) if fault.status == 200 else (fault.status, None)
        self._send(Fault(status, 0, fault.cut_after, None, fault.retry_after), fault.body or json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name the base class calls it by
        """Silent: `requests` has it all."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.owner.served.now_ms() / 1000 if timestamp is None else timestamp, usegmt=True)

    def _body(self) -> Body | None:
        try:
            length = min(int(self.headers.get("Content-Length", "0")), _MAX_REQUEST)
            body = json.loads(self.rfile.read(length))
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    def _send(self, fault: Fault, content: bytes) -> None:
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.end_headers()
        self.wfile.write(content if fault.cut_after is None else content[: fault.cut_after])
        self.wfile.flush()
        self.close_connection = self.close_connection or fault.cut_after is not None


def recorded_answers(folder: Path) -> dict[str, Any]:
    """The answers of recorded `{request, response}` files by request type; of two of a type the last file in name order."""
    answers: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        request = record.get("request") if isinstance(record, dict) else None
        if isinstance(request, dict) and "response" in record:
            answers[str(request.get("type"))] = record["response"]
    return answers


def candles_of_parquet(file: Path) -> Candles:
    """A series to serve, from columns ts (ms), open, high, low, close, volume in time order."""
    import duckdb

    read = duckdb.connect().execute("SELECT ts, open, high, low, close, volume FROM read_parquet(?) ORDER BY ts", [str(file)]).fetchnumpy()
    return Candles(read["ts"], np.array([read[name] for name in ("open", "high", "low", "close", "volume")]))


def _candle(series: Candles, row: int, interval_ms: int) -> Body:
    opened = int(series.ts[row])
    prices = dict(zip("ohlcv", (_text(value) for value in series.values[:, row]), strict=True))
    return {"t": opened, "T": opened + interval_ms - 1, **prices}


def _text(value: float) -> str:
    """A number as the venue writes it: plain, with a fraction."""
    text = np.format_float_positional(value, trim="0")
    return str(text)
