"""Agents and algorithms that are being written: every change is checked by the parsers that runs use, and saving makes a version.

A chip says of one section whether it is ok, missing or invalid, and why. What is saved is what the chips were about, byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tradeagent.agents.definition import AgentDefinition
from tradeagent.agents.folder import DEFINITION_NAME, Known, load_agent, parse_agent, payload_of, read_texts
from tradeagent.agents.text import one_line
from tradeagent.assistant.draft_text import Change, changed_front, changed_yaml
from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError, DataError, InvalidConfig, InvalidInput, NotFound, RefusedError, UnknownKey
from tradeagent.domain.names import Actor, EventKind
from tradeagent.ledger import drafts, events, notes
from tradeagent.ledger.drafts import DraftRow
from tradeagent.ledger.store import Ledger
from tradeagent.workspace.config import Config
from tradeagent.workspace.files import content_hash, disk_errors, try_replace, write_new
from tradeagent.workspace.front_matter import FrontMatter, read_front_matter
from tradeagent.workspace.names import slug_of
from tradeagent.workspace.paths import Workspace

AGENT, ALGO = "agent", "algo"
OK, MISSING, INVALID = "ok", "missing", "invalid"
SECTIONS = {
    AGENT: ("basics", "strategy", "risk", "schedule", "tools", "context"),
    ALGO: ("basics", "strategy", "risk"),
}
MOST_TEXT = 64 * 1024
MOST_OPEN = 100
MOST_TOLD, LONGEST_TOLD = 5, 300
EMPTY = "---\n---\n"
_SECTION_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    AGENT: {
        "strategy": ("strategy", "body"),
        "risk": ("limits", "configs", "budget", "approval", "on_kill_switch"),
        "schedule": ("tick_interval", "cron", "timezone", "tick_timeout", "max_ticks", ""),
        "tools": ("tools", "mcp_servers"),
        "context": ("context",),
    },
    ALGO: {"basics": ("name", "market", "interval"), "risk": ("sizing", "leverage", "starting_capital")},
}
# So that what is written is checked although something else is still missing or wrong.
_STAND_INS: Mapping[str, Any] = {"name": "draft", "model": "offline/hold", "markets": ["BTC"]}
# Keys that are judged by one another: what is said of one without the other would be wrong. "" stands for the whole.
_TOGETHER: tuple[frozenset[str], ...] = (frozenset({"", "tick_interval", "cron", "timezone"}), frozenset({"limits", "configs"}))


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are prepared: one workspace, its ledger, and what an agent.md may name."""

    workspace: Workspace
    config: Config
    ledger: Ledger
    clock: Clock
    known: Known


@dataclass(frozen=True, slots=True)
class Chip:
    """How one section stands; `why` is empty when it is ok."""

    section: str
    state: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a draft became."""

    kind: str
    name: str
    version: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def begin_agent(bench: Bench, session: str | None, name: str, source: str | None = None) -> DraftRow:
    """A new draft of an agent; with `source` of a next version of the agent in that folder. Errors of its files as they are."""
    body: dict[str, Any] = {"text": EMPTY, "slug": None, "base": None}
    if source is not None:
        agent = load_agent(bench.workspace.agent_dir(source), bench.known)
        body = {"text": agent.agent_text, "slug": agent.slug, "base": agent.payload_hash}
        name = agent.definition.name
    return _begin(bench, session, AGENT, name, body)


def begin_algo(bench: Bench, session: str | None, name: str, template: str) -> DraftRow:
    """A new draft of an algo, from a template or another algo."""
    from tradeagent.algos.edit import edited, put
    from tradeagent.algos.store import check_name, find

    check_name(name)
    text = edited(find(bench.ledger, template).spec, lambda document: put(document, ["name"], name))
    return _begin(bench, session, ALGO, name, {"text": text})


def _begin(bench: Bench, session: str | None, kind: str, name: str, body: Mapping[str, Any]) -> DraftRow:
    now = bench.clock.now_ms()
    row = DraftRow(bench.clock.new_id(), session, kind, name, dict(body), 0, None, now, now)
    with bench.ledger.transaction() as tx:
        if sum(each.saved is None for each in drafts.listed(tx, drafts.MOST + MOST_OPEN)) >= MOST_OPEN:
            raise RefusedError(
                f"{MOST_OPEN} drafts are not saved yet", hint="`tradeagent drafts rm ID` removes one", code="too_many_drafts"
            )
        drafts.add(tx, row)
    return row


def patch(bench: Bench, reference: str, changes: Sequence[Change], *, body: str | None = None, name: str | None = None) -> DraftRow:
    """A new revision with some keys written anew, None taking one away; `body` replaces an agent's strategy or an algo's whole text."""
    with bench.ledger.transaction() as tx:
        row = drafts.get(tx, reference)
        text = _patched(row, changes, body)
        if len(text) > MOST_TEXT:
            raise InvalidInput(f"the draft would have {len(text):,} characters, at most {MOST_TEXT:,}", hint="shorten the strategy")
        return drafts.change(tx, row, {**row.body, "text": text}, bench.clock.now_ms(), name=name)


def _patched(row: DraftRow, changes: Sequence[Change], body: str | None) -> str:
    if row.kind == AGENT:
        return changed_front(row.body["text"], changes, body)
    return changed_yaml(row.body["text"] if body is None else body, changes)


def chips(bench: Bench, row: DraftRow) -> list[Chip]:
    """Every section with its state, in the order of writing."""
    found = _agent_problems(bench, row) if row.kind == AGENT else _algo_problems(row)
    problems: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS[row.kind]}
    for section, state, why in found:
        problems[section].append((state, why))
    return [_chip(section, told) for section, told in problems.items()]


def _chip(section: str, told: Sequence[tuple[str, str]]) -> Chip:
    if not told:
        return Chip(section, OK)
    state = INVALID if any(state == INVALID for state, _ in told) else MISSING
    more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return Chip(section, state, "; ".join(why for _, why in told[:MOST_TOLD]) + more)


def unready(found: Iterable[Chip]) -> list[Chip]:
    """Those that keep a draft from being saved."""
    return [chip for chip in found if chip.state != OK]


def text_of(row: DraftRow) -> str:
    """The agent.md or the algo's YAML as it stands."""
    return str(row.body["text"])


def base_of(bench: Bench, row: DraftRow) -> tuple[str, str | None]:
    """The folder that a draft of an agent is for, and the version (its payload's hash) it goes on from; None for a new agent."""
    if row.saved is not None:
        slug, _, number = row.saved.partition("@")
        with bench.ledger.reading() as tx:
            kept = {each["version"]: each["payload_hash"] for each in notes.versions(tx, slug)}
        return slug, kept.get(int(number))
    return row.body["slug"] or slug_of(row.name), row.body["base"]


def _agent_problems(bench: Bench, row: DraftRow) -> Iterable[tuple[str, str, str]]:
    """What is missing, and what is wrong. The parser of runs stops at the first kind of fault: what it names is taken out and the rest
    read again, so that no section looks right because another one is wrong."""
    front = read_front_matter(text_of(row), Path(DEFINITION_NAME))
    yield from _agent_missing(bench, row, front)
    config = read_texts(bench.workspace.agent_dir(row.body["slug"]))[1] if row.body["slug"] else ""
    written = set(front.head.values)
    good, folder = written, bench.workspace.agents_dir / "draft"
    while True:
        try:
            parse_agent(folder, changed_front(text_of(row), _without(written - good, good)), config, bench.known)
            return
        except (InvalidConfig, UnknownKey) as error:
            found = error.details.get("problems") or [{"field": "", "message": error.message, "hint": error.hint}]
        for problem in found:
            yield _section(AGENT, str(problem["field"])), INVALID, _told(problem)
        wrong = {str(problem["field"]).partition(".")[0] for problem in found}
        wrong |= {key for names in _TOGETHER if wrong & names for key in names}
        kept = config if wrong <= AgentDefinition.model_fields.keys() - {"configs"} else ""
        if good.isdisjoint(wrong) and kept == config:
            return
        good, config = good - wrong, kept


def _without(out: Iterable[str], good: Iterable[str]) -> list[Change]:
    """Changes that take keys away and stand in for what an agent cannot be without."""
    stand_ins = {key: value for key, value in _STAND_INS.items() if key not in good}
    if "tick_interval" not in good and "cron" not in good:
        stand_ins["tick_interval"] = "5m"
    return [((key,), stand_ins.get(key)) for key in {*out, *stand_ins}]


def _agent_missing(bench: Bench, row: DraftRow, front: FrontMatter) -> Iterable[tuple[str, str, str]]:
    written = front.head.values
    for key in _STAND_INS:
        if key not in written:
            yield "basics", MISSING, f"{key} is missing"
    if not front.body.strip():
        yield "strategy", MISSING, "there is no text: say in plain words when to enter, where the stop goes, and when to do nothing"
    if "tick_interval" not in written and "cron" not in written:
        yield "schedule", MISSING, "neither tick_interval nor cron is given"
    slug, base = base_of(bench, row)
    if "name" in written and not slug:
        yield "basics", INVALID, f"name: {row.name!r} has no letter or digit"
    elif base is None and "name" in written and texts_there(bench.workspace.agents_dir / slug)[0] not in ("", text_of(row)):
        yield "basics", INVALID, f"name: an agent {slug!r} exists already; another name, or set_basics with from_agent {slug}"


def _algo_problems(row: DraftRow) -> Iterable[tuple[str, str, str]]:
    from tradeagent.algos.parse import parse_algo
    from tradeagent.algos.store import check_name

    try:
        check_name(row.name)
        parse_algo(text_of(row), row.name)
    except InvalidInput as error:
        yield "basics", INVALID, error.message
    except (InvalidConfig, UnknownKey) as error:
        for problem in error.details.get("problems") or [{"field": "entry", "message": error.message, "hint": error.hint}]:
            yield _section(ALGO, str(problem["field"])), INVALID, _told(problem)


def _section(kind: str, field: str) -> str:
    key = field.partition(".")[0]
    if kind == AGENT and key and key not in AgentDefinition.model_fields:
        return "risk"  # a key of config.yml
    other = "basics" if kind == AGENT else "strategy"
    return next((section for section, keys in _SECTION_OF[kind].items() if key in keys), other)


def _told(problem: Mapping[str, Any]) -> str:
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return one_line(f"{problem['message']}{hint}", LONGEST_TOLD)


def save(bench: Bench, reference: str, *, revision: int | None = None) -> Saved:
    """Check everything, write it, and make a version. InvalidInput names what is not ready; nothing is ever written over unseen.

    `revision` is the one that a person was shown: RefusedError when there is a newer one. Killed half-way, saving again ends it: a file
    that says what the draft says counts as written.
    """
    with bench.ledger.reading() as tx:
        row = drafts.get(tx, reference)
    if revision not in (None, row.revision):
        raise RefusedError(f"draft {row.name} has revision {row.revision} now, not {revision}", hint="read it again", code="gate_failed")
    bad = unready(chips(bench, row))
    if bad:
        raise InvalidInput(
            f"draft {row.name}: {bad[0].section} is {bad[0].state}: {bad[0].why}",
            hint=f"`tradeagent drafts show {row.id}` shows every section",
            details={"problems": [{"message": f"{chip.section} is {chip.state}: {chip.why}"} for chip in bad]},
        )
    saved = _save_agent(bench, row) if row.kind == AGENT else _save_algo(bench, row)
    with bench.ledger.transaction() as tx:
        drafts.saved(tx, row, f"{saved.name}@{saved.version}", bench.clock.now_ms())
    return saved


def _save_algo(bench: Bench, row: DraftRow) -> Saved:
    from tradeagent.algos.store import save as save_algo

    kept = save_algo(bench.ledger, row.name, text_of(row), bench.clock.now_ms(), note=_note(row))
    return Saved(ALGO, kept.name, kept.version or 1)


def _save_agent(bench: Bench, row: DraftRow) -> Saved:
    slug, base = base_of(bench, row)
    folder, text = bench.workspace.agent_dir(slug), text_of(row)
    if base is None:
        _write_new(folder, text)
    else:
        _write_over(bench, row, folder, base)
    agent = load_agent(folder, bench.known)
    now = bench.clock.now_ms()
    with bench.ledger.transaction() as tx:
        version = notes.save_version(tx, slug, agent.payload, agent.payload_hash, _note(row), now)
        data = {"agent": slug, "version": version, "draft": row.id}
        events.append(tx, EventKind.CONFIG_CHANGED, now, actor=Actor.MANUAL, subject=slug, data=data)
    return Saved(AGENT, slug, version)


def _write_new(folder: Path, text: str) -> None:
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not write_new(folder / DEFINITION_NAME, text, durable=True) and texts_there(folder)[0] != text:
        raise InvalidInput(f"an agent {folder.name!r} exists already", hint="give the draft another name with set_basics")


def _write_over(bench: Bench, row: DraftRow, folder: Path, base: str) -> None:
    """The next version of an agent, over the very files that the draft was begun from; those are kept as a version first."""
    agent_text, config_text = texts_there(folder)
    if agent_text == text_of(row):
        return
    payload = payload_of(agent_text, config_text)
    if content_hash(payload) != base:
        raise RefusedError(
            f"agent {folder.name} was changed since draft {row.id} was begun",
            hint=f"`tradeagent agent diff {folder.name}` shows how; begin again with set_basics from_agent {folder.name}",
            code="gate_failed",
        )
    with bench.ledger.transaction() as tx:
        notes.save_version(tx, folder.name, payload, base, "kept before a draft was saved", bench.clock.now_ms())
    if try_replace(folder / DEFINITION_NAME, content_hash(agent_text), text_of(row), durable=True) is None:
        raise BusyError(f"{folder / DEFINITION_NAME} was edited meanwhile", hint=f"save it, then `tradeagent drafts save {row.id}`")


def texts_there(folder: Path) -> tuple[str, str]:
    """What the folder says now; empty where there is nothing to read."""
    try:
        return read_texts(folder)
    except (NotFound, DataError):
        return "", ""


def _note(row: DraftRow) -> str:
    return f"draft {row.id}, revision {row.revision}"


def draft_dict(bench: Bench, row: DraftRow, *, with_text: bool = False) -> dict[str, Any]:
    """A draft as tools and commands show it."""
    found = chips(bench, row)
    shown = {
        "draft": row.id,
        "kind": row.kind,
        "name": row.name,
        "revision": row.revision,
        "saved": row.saved,
        "ready": not unready(found),
        "chips": {chip.section: {"state": chip.state, **({"why": chip.why} if chip.why else {})} for chip in found},
    }
    return shown | ({"text": text_of(row)} if with_text else {})
