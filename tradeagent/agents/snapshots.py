"""The complete record of one tick: as JSON for the ledger row, as `snapshot_K.md` or `experiment_N.md` for people and replay.

The file is rendered from the record and can be rendered again at any time. Front matter holds the facts as data, fenced
blocks the texts; a fence is longer than any run of backticks inside, so no text can end its block.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from tradeagent.agents.head_text import head_lines
from tradeagent.agents.text import one_line
from tradeagent.domain.clock import iso, minute_text
from tradeagent.domain.errors import InvalidConfig
from tradeagent.domain.names import RunMode
from tradeagent.workspace.files import disk_error, write_atomic
from tradeagent.workspace.front_matter import read_front_matter
from tradeagent.workspace.plain_text import visible

FOLDER = "snapshots"
MAX_RESULT = 2_000
_NOT_FACTS = frozenset({"kind", "number", "agent_id", "system_prompt", "user_prompt", "providers", "risk_state", "response", "tool_calls"})
_NUMBERED = re.compile(r"snapshot_(\d+)\.md")
_OPENING = re.compile(r"(`{3,})(?:text|json) (.+)")


@dataclass(frozen=True, slots=True)
class ToolCallRecord:
    """One tool call: `arguments` as the model wrote them (JSON text), `verdict` of the door if it was asked, `result` as returned."""

    number: int
    name: str
    status: str
    arguments: str = ""
    verdict: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """What a provider told the prompt; `data` is JSON text."""

    name: str
    summary: str
    data: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """Everything about one tick or experiment. Durations in ms; `cost_usd` None = unknown; `number` is K or N of the file."""

    kind: Literal["snapshot", "experiment"]
    number: int
    agent_id: str
    at_ms: int
    mode: RunMode
    model: str
    agent_hash: str
    config_hash: str
    prompt_hash: str
    outcome: str
    duration_ms: int
    durations_ms: Mapping[str, int] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal | None = None
    model_calls: int = 0
    system_prompt: str = ""
    user_prompt: str = ""
    providers: tuple[ProviderRecord, ...] = ()
    risk_state: str = ""
    response: str = ""
    tool_calls: tuple[ToolCallRecord, ...] = ()

    @property
    def file_name(self) -> str:
        return f"{self.kind}_{self.number}.md"

    def to_data(self) -> dict[str, Any]:
        """A document for JSON, but for the cost, which is a Decimal and belongs there as text."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["providers"] = [_shallow(entry) for entry in self.providers]
        data["tool_calls"] = [_shallow(call) for call in self.tool_calls]
        return data

    @classmethod
    def from_data(cls, stored: Mapping[str, Any]) -> "SnapshotRecord":
        """The inverse of `to_data` after JSON; raises KeyError or TypeError for another document."""
        data = dict(stored)
        data["mode"] = RunMode(data["mode"])
        data["cost_usd"] = None if data["cost_usd"] is None else Decimal(data["cost_usd"])
        data["providers"] = tuple(ProviderRecord(**entry) for entry in data["providers"])
        data["tool_calls"] = tuple(ToolCallRecord(**entry) for entry in data["tool_calls"])
        return cls(**data)


def _shallow(entry: ProviderRecord | ToolCallRecord) -> dict[str, Any]:
    """Its fields, which are all texts and numbers."""
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def clipped(record: SnapshotRecord) -> SnapshotRecord:
    """The record as its file keeps it: a model's texts without what a terminal would obey, tool results cut at 2,000 characters."""
    calls = (
        ToolCallRecord(call.number, *map(visible, (call.name, call.status, call.arguments, call.verdict, call.result)))
        for call in record.tool_calls
    )
    return replace(
        record,
        outcome=visible(record.outcome),
        response=visible(record.response),
        tool_calls=tuple(replace(call, result=_clip(call.result)) for call in calls),
    )


def render_snapshot(record: SnapshotRecord) -> str:
    """The markdown file of a record."""
    record = clipped(record)
    providers = [
        part
        for entry in record.providers
        for part in (_block(f"provider {entry.name}", entry.summary), _block(f"data {entry.name}", entry.data))
    ]
    sections = (
        ("Prompt", [_block("system", record.system_prompt), _block("user", record.user_prompt)]),
        ("Providers", providers),
        ("Risk state", [_block("risk", record.risk_state)]),
        ("Response", [_block("response", record.response)]),
        ("Tool calls", [part for call in record.tool_calls for part in _call_parts(call)]),
        ("Usage", [_usage(record)]),
    )
    details = "\n".join(_details(title, parts) for title, parts in sections)
    return f"---\n{head_lines(_facts(record))}---\n\n{_title(record)}\n{details}"


def parse_snapshot(text: str, file: Path) -> SnapshotRecord:
    """Read a snapshot or experiment file back. Raises InvalidConfig naming file and field when it is not one."""
    front = read_front_matter(text, file)
    facts, blocks = front.head.values, dict(_blocks(front.body))
    try:
        cost = facts["cost_usd"]
        return SnapshotRecord(
            kind=facts["kind"],
            number=facts["number"],
            agent_id=facts["agent_id"],
            at_ms=facts["at_ms"],
            mode=RunMode(facts["mode"]),
            model=facts["model"],
            agent_hash=facts["agent_hash"],
            config_hash=facts["config_hash"],
            prompt_hash=facts["prompt_hash"],
            outcome=facts["outcome"],
            duration_ms=facts["duration_ms"],
            durations_ms=facts["durations_ms"],
            tokens_in=facts["tokens_in"],
            tokens_out=facts["tokens_out"],
            cost_usd=None if cost is None else Decimal(cost),
            model_calls=facts["model_calls"],
            system_prompt=blocks.get("system", ""),
            user_prompt=blocks.get("user", ""),
            providers=tuple(
                ProviderRecord(name, blocks.get(f"provider {name}", ""), blocks.get(f"data {name}", "")) for name in facts["providers"]
            ),
            risk_state=blocks.get("risk", ""),
            response=blocks.get("response", ""),
            tool_calls=tuple(_call(entry, blocks) for entry in facts["tool_calls"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidConfig(
            f"{file}: not a snapshot: {type(error).__name__} {error}", hint="render it again from the ledger", details={"file": str(file)}
        ) from error


def write_snapshot(folder: Path, record: SnapshotRecord, *, keep: int, durable: bool) -> Path:
    """Write `snapshots/snapshot_K.md` of a session, then prune. The disk errors of `workspace.files`."""
    snapshots = folder / FOLDER
    try:
        snapshots.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_error(snapshots, error) from error
    path = snapshots / record.file_name
    write_atomic(path, render_snapshot(record), durable=durable)
    if keep > 0:
        (snapshots / f"snapshot_{record.number - keep}.md").unlink(missing_ok=True)
        if record.number % keep == 0:
            prune_snapshots(folder, keep)
    return path


def list_snapshots(folder: Path) -> list[tuple[int, Path]]:
    """`(K, path)` of a session's snapshots in numeric order."""
    found = ((_NUMBERED.fullmatch(path.name), path) for path in (folder / FOLDER).glob("snapshot_*.md"))
    return sorted((int(match[1]), path) for match, path in found if match)


def prune_snapshots(folder: Path, keep: int) -> None:
    """Delete the lowest numbers beyond `keep`; 0 keeps all."""
    if keep > 0:
        for _, path in list_snapshots(folder)[:-keep]:
            path.unlink(missing_ok=True)


def _facts(record: SnapshotRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": record.kind, "number": record.number, "agent_id": record.agent_id, "time": iso(record.at_ms)}
    plain = {name: getattr(record, name) for name in record.__dataclass_fields__ if name not in _NOT_FACTS}
    calls = [{"number": call.number, "name": call.name, "status": call.status} for call in record.tool_calls]
    return facts | plain | {"mode": str(record.mode), "providers": [entry.name for entry in record.providers], "tool_calls": calls}


def _title(record: SnapshotRecord) -> str:
    return (
        f"# {record.kind.capitalize()} {record.number} - {record.agent_id}\n\n"
        f"{minute_text(record.at_ms)} UTC, mode {record.mode}, model {one_line(record.model, 120)}, {one_line(record.outcome, 200)}\n\n"
        f"Versions: agent {record.agent_hash[:12]}, config {record.config_hash[:12]}, prompt {record.prompt_hash[:12]}\n"
    )


def _details(title: str, parts: list[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return f"<details>\n<summary>{title}</summary>\n\n{body or 'Nothing.' + chr(10)}\n</details>\n"


def _block(label: str, text: str, language: str = "text") -> str:
    if not text:
        return ""
    fence = "`" * (max(3, 1 + max(map(len, re.findall("`+", text)))) if "`" in text else 3)
    return f"{fence}{language} {label}\n{text}\n{fence}\n"


def _blocks(body: str) -> Iterator[tuple[str, str]]:
    """`(label, text)` of every fenced block."""
    lines = iter(body.split("\n"))
    for line in lines:
        opening = _OPENING.fullmatch(line)
        if opening:
            inside = []
            for inner in lines:
                if inner == opening[1]:
                    break
                inside.append(inner)
            yield opening[2], "\n".join(inside)


def _call_parts(call: ToolCallRecord) -> list[str]:
    return [
        f"### {call.number}. {one_line(call.name, 80)}: {one_line(call.status, 80)}\n",
        _block(f"arguments {call.number}", call.arguments, "json"),
        _block(f"verdict {call.number}", call.verdict, "json"),
        _block(f"result {call.number}", call.result),
    ]


def _call(entry: Mapping[str, Any], blocks: Mapping[str, str]) -> ToolCallRecord:
    number = entry["number"]
    texts = (blocks.get(f"{label} {number}", "") for label in ("arguments", "verdict", "result"))
    return ToolCallRecord(number, entry["name"], entry["status"], *texts)


def _usage(record: SnapshotRecord) -> str:
    cost = "unknown" if record.cost_usd is None else f"${record.cost_usd:f}"
    steps = "".join(f"| {one_line(step, 60)} | {spent} |\n" for step, spent in record.durations_ms.items())
    return (
        f"{record.tokens_in} tokens in, {record.tokens_out} out, {record.model_calls} model calls, cost {cost}\n\n"
        f"| step | ms |\n|---|---|\n{steps}| all | {record.duration_ms} |\n"
    )


def _clip(text: str) -> str:
    return text if len(text) <= MAX_RESULT else f"{text[: MAX_RESULT - 1]}…"
