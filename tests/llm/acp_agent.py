"""A scripted agent that speaks the Agent Client Protocol on its standard streams, with the protocol's own library: `acp_agent.py PLAY`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, RequestError, run_agent
from acp.helpers import start_tool_call, update_agent_message_text, update_agent_thought_text, update_tool_call
from acp.schema import (
    Cost,
    InitializeResponse,
    NewSessionResponse,
    PermissionOption,
    PromptResponse,
    ToolCallUpdate,
    Usage,
    UsageUpdate,
)

ALLOWANCES = [
    PermissionOption(option_id="always", name="Always", kind="allow_always"),
    PermissionOption(option_id="once", name="Once", kind="allow_once"),
    PermissionOption(option_id="no", name="No", kind="reject_once"),
]


class Agent:
    """Plays one scene per prompt."""

    def __init__(self, play: str) -> None:
        self.play = play
        self.opened: dict[str, Any] = {}
        self.client: Any = None

    def on_connect(self, client: Any) -> None:
        self.client = client

    async def initialize(self, protocol_version: int, client_capabilities: Any = None, client_info: Any = None, **_: Any) -> Any:
        self.opened["capabilities"] = client_capabilities.model_dump(by_alias=True) if client_capabilities else None
        return InitializeResponse(protocol_version=PROTOCOL_VERSION)

    async def new_session(self, cwd: str, additional_directories: Any = None, mcp_servers: Any = None, **_: Any) -> Any:
        if self.play == "auth":
            raise RequestError.auth_required()
        self.opened |= {
            "cwd": cwd,
            "files": [path.name for path in Path(cwd).iterdir()],
            "servers": [server.model_dump() for server in mcp_servers or ()],
        }
        self.opened["environment"] = dict(os.environ)
        return NewSessionResponse(session_id="s1")

    async def prompt(self, prompt: Any, session_id: str, **_: Any) -> Any:
        self.asked = "".join(block.text for block in prompt)
        return await getattr(self, f"play_{self.play}")() or PromptResponse(stop_reason="end_turn")

    async def cancel(self, session_id: str, **_: Any) -> None:
        pass

    async def tell(self, update: Any) -> None:
        await self.client.session_update(session_id="s1", update=update)

    async def say(self, text: str) -> None:
        await self.tell(update_agent_message_text(text))

    async def call(self, number: int, title: str, given: Any, *, status: str = "completed", output: str = "done") -> None:
        await self.tell(start_tool_call(f"t{number}", title, status="pending", raw_input={}))
        await self.tell(update_tool_call(f"t{number}", status="in_progress", raw_input=given))
        await self.tell(update_tool_call(f"t{number}", status=status, raw_output={"said": output}))

    async def play_talk(self) -> Any:
        await self.tell(update_agent_thought_text("hm"))
        await self.say("I look. ")
        await self.call(1, "mcp__tradeagent__get_portfolio", {"wallet": "w"})
        await self.say("Fine.")
        return PromptResponse(stop_reason="end_turn", usage=Usage(input_tokens=1000, output_tokens=50, total_tokens=1050))

    async def play_tells(self) -> Any:
        await self.say(json.dumps({**self.opened, "asked": self.asked}))

    async def play_uses(self) -> Any:
        """Connect to the server that was handed over, ask for leave, and use its tool."""
        from mcp import Client, StdioServerParameters

        (server,) = self.opened["servers"]
        async with Client(StdioServerParameters(command=server["command"], args=server["args"])) as tools:
            names = [tool.name for tool in (await tools.list_tools()).tools]
            title = f"mcp__{server['name']}__{names[0]}"
            call = ToolCallUpdate(tool_call_id="u1", title=title, kind="other", raw_input={})
            response = await self.client.request_permission(session_id="s1", tool_call=call, options=ALLOWANCES)
            if response.outcome.option_id == "once":
                result = await tools.call_tool(names[0], {})
                await self.call(1, title, {"wallet": "w"}, output=result.content[0].text)
                await self.say(f"{names}: {result.content[0].text}")

    async def play_asks(self) -> Any:
        answers = []
        asked = [("mcp__tradeagent__get_portfolio", "other"), ("Run `get_portfolio`", "execute"), ("get_portfolio", "execute"), ("x", None)]
        for number, (title, kind) in enumerate(asked):
            call = ToolCallUpdate(tool_call_id=f"p{number}", title=title, kind=kind, raw_input={"a": number})
            response = await self.client.request_permission(session_id="s1", tool_call=call, options=ALLOWANCES)
            answers.append(response.outcome.option_id)
        await self.say(json.dumps(answers))

    async def play_wants_always(self) -> Any:
        call = ToolCallUpdate(tool_call_id="p", title="tradeagent/get_portfolio", raw_input={})
        response = await self.client.request_permission(session_id="s1", tool_call=call, options=ALLOWANCES[:1])
        await self.say(response.outcome.outcome)

    async def play_reaches(self) -> Any:
        told = []
        for ask in (
            lambda: self.client.read_text_file(session_id="s1", path="/etc/passwd"),
            lambda: self.client.write_text_file(session_id="s1", path="/tmp/x", content="x"),
            lambda: self.client.create_terminal(session_id="s1", command="id"),
        ):
            try:
                await ask()
                told.append("done")
            except RequestError as error:
                told.append(str(error))
        await self.say(json.dumps(told))

    async def play_hangs(self) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        below = subprocess.Popen(
            [sys.executable, "-c", "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
        )
        await self.say(f"{os.getpid()} {below.pid}")
        await asyncio.Event().wait()

    async def play_works_long(self) -> Any:
        await self.tell(start_tool_call("t1", "tradeagent/run_backtest", status="in_progress", raw_input={"algo": "x"}))
        await asyncio.sleep(1.0)
        await self.tell(update_tool_call("t1", status="completed", raw_output="42"))
        await self.say("ready")

    async def play_calls_on(self) -> Any:
        for number in range(100):
            await self.call(number, "tradeagent/get_ticker", {"market": f"M{number}"})

    async def play_repeats(self) -> Any:
        for number in range(100):
            await self.call(number, "tradeagent/get_ticker", {"market": "BTC"})

    async def play_untold(self) -> Any:
        for number in range(5):
            await self.call(number, "tradeagent/get_ticker", None, status="failed" if number == 4 else "completed")

    async def play_spends(self) -> Any:
        for number in range(1, 100):
            await self.tell(UsageUpdate(session_update="usage_update", used=10, size=100, cost=Cost(amount=number / 10, currency="USD")))
            await asyncio.sleep(0.01)

    async def play_garbage(self) -> Any:
        for line in ("no json", "[1]", '{"jsonrpc": "2.0"}', '{"method": "session/update", "params": {"update": 5}}', "\x00\xff", '"x"'):
            print(line, flush=True)
        print(json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": None}), flush=True)
        print(json.dumps({"jsonrpc": "2.0", "id": "z", "method": "session/request_permission", "params": {}}), flush=True)
        await self.say("still here")

    async def play_dies(self) -> Any:
        print(f"fatal: {os.environ.get('AGENT_KEY')} and sk-abcdefghijkl", file=sys.stderr, flush=True)
        os._exit(3)

    async def play_complains(self) -> Any:
        for _ in range(3000):
            sys.stderr.write("warning " * 1000 + "\n")
        await self.say("done complaining")

    async def play_refuses(self) -> Any:
        return PromptResponse(stop_reason="refusal")

    async def play_floods(self) -> Any:
        while True:
            await self.say("blah " * 100)


if __name__ == "__main__":
    if sys.argv[1] == "mute":
        Path("/dev/stdin").read_bytes()
    elif sys.argv[1] == "newline":
        sys.stdout.write("x" * 20_000_000)
        sys.stdout.flush()
        sys.stdin.read()
    else:
        asyncio.run(run_agent(Agent(sys.argv[1])))
