"""A scripted OpenAI-compatible server on the loopback interface: each request plays the next step, the last one again and again."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, then the pieces of the body one by one, `pause_s` before each; afterwards as `ending` says.

    `done` ends properly, `cut` closes the line, `half` closes our half of it and lingers, `stall` stays silent, `flood` repeats the last
    piece until the client has gone.
    """

    pieces: tuple[str, ...] = ()
    status: int = 200
    content_type: str = "text/event-stream"
    ending: str = "done"
    silent_before: bool = False
    pause_s: float = 0.0
    retry_after: str | None = None


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, usage: tuple[int, int] | None = None) -> str:
    """One server-sent event of a streamed chat completion."""
    body: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    if delta is not None:
        body["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return f"data: {json.dumps(body)}\n\n"


def tool_piece(index: int, arguments: str, name: str | None = None, call_id: str | None = None) -> str:
    """A piece of a streamed tool call."""
    function: dict[str, Any] = {"arguments": arguments}
    piece: dict[str, Any] = {"index": index, "function": function}
    if name is not None:
        function["name"] = name
        piece |= {"id": call_id, "type": "function"}
    return chunk({"tool_calls": [piece]})


ROLE = chunk({"role": "assistant", "content": ""})
END = "data: [DONE]\n\n"


def text_reply(*words: str, usage: tuple[int, int] = (11, 3)) -> Reply:
    return Reply((ROLE, *(chunk({"content": word}) for word in words), chunk({}, "stop"), chunk(usage=usage), END))


def failure(status: int, message: str = "no") -> Reply:
    return Reply((json.dumps({"error": {"message": message, "type": "x", "code": str(status)}}),), status, "application/json")


class Loopback:
    """`with Loopback(reply, …) as server`: `server.url` is the base URL, `server.bodies` what was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = replies
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str] = []
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _next(self, handler: BaseHTTPRequestHandler) -> Reply:
        length = int(handler.headers["Content-Length"])
        self.bodies.append(json.loads(handler.rfile.read(length)))
        self.authorizations.append(handler.headers.get("Authorization", ""))
        return self.replies[min(len(self.bodies), len(self.replies)) - 1]

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

            def do_POST(self) -> None:
                reply = loopback._next(self)
                self.close_connection = True
                if reply.silent_before:
                    loopback.released.wait(30)
                    return
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Connection", "close")
                if reply.retry_after is not None:
                    self.send_header("Retry-After", reply.retry_after)
                self.end_headers()
                with suppress(OSError):
                    loopback._play(self, reply)

        return Handler

    def _play(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        def send(piece: str) -> None:
            data = piece.encode()
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            handler.wfile.flush()

        for piece in reply.pieces:
            if reply.pause_s and self.released.wait(reply.pause_s):
                return
            send(piece)
        if reply.ending == "half":
            handler.connection.shutdown(socket.SHUT_WR)
        if reply.ending in ("half", "stall"):
            self.released.wait(30)
        while reply.ending == "flood" and not self.released.is_set():
            send(reply.pieces[-1])
        if reply.ending == "done":
            handler.wfile.write(b"0\r\n\r\n")
