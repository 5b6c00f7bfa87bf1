"""Versions of an agent: what differs between two of them, and giving the folder the files of one. Memory is no part of it."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradeagent.agents.folder import CONFIG_NAME, DEFINITION_NAME, payload_of, read_texts, texts_of
from tradeagent.agents.text import one_line
from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import BusyError, InvalidConfig, NotFound, RefusedError
from tradeagent.domain.names import Actor, EventKind
from tradeagent.ledger import events, notes
from tradeagent.ledger.store import Ledger
from tradeagent.workspace.files import content_hash, try_replace
from tradeagent.workspace.front_matter import read_front_matter
from tradeagent.workspace.yaml_text import read_yaml

FOLDER = "folder"
KEPT = "edits kept before a restore"
NOTHING: dict[str, int] = {}
_NO_KEYS = frozenset({"body", "layout", "text"})


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a version by number, or the folder as it is (`version` None)."""

    version: int | None
    agent_md: str
    config_yml: str

    @property
    def name(self) -> str:
        return FOLDER if self.version is None else f"version {self.version}"

    @property
    def payload(self) -> str:
        return payload_of(self.agent_md, self.config_yml)


@dataclass(frozen=True, slots=True)
class Change:
    """A key with another value, texts as people write them; None = not there.

    Of what is no key, `body` is the text under the front matter, `layout` comments and spacing, `text` a file that is not readable.
    """

    file: str
    key: str
    old: str | None
    new: str | None

    @property
    def in_short(self) -> str:
        if self.key in _NO_KEYS:
            return f"{self.file} {self.key}"
        before, after = ("–" if text is None else one_line(text, 60) for text in (self.old, self.new))
        return f"{self.key} {before} → {after}"


def folder_side(folder: Path) -> Side:
    """The folder as it is, unchecked: it may be what a person broke."""
    return Side(None, *read_texts(folder))


def version_side(ledger: Ledger, slug: str, number: int) -> Side:
    """A saved version; NotFound says which there are."""
    with ledger.reading() as tx:
        saved = {row["version"]: row["payload"] for row in notes.versions(tx, slug, with_payload=True)}
    if number not in saved:
        there = f"there are 1 to {max(saved)}" if saved else f"none yet: `tradeagent run {slug} --mode dry-run` makes the first"
        raise NotFound(f"no version {number} of {slug}", hint=f"{there}; `tradeagent agent versions {slug}`", details={"version": number})
    return Side(number, *texts_of(saved[number]))


def changes(old: Side, new: Side) -> list[Change]:
    """What differs, key by key; a text that is not readable as YAML differs as a whole."""
    return [
        *_changed(DEFINITION_NAME, _definition, old.agent_md, new.agent_md),
        *_changed(CONFIG_NAME, _config, old.config_yml, new.config_yml),
    ]


def unified(old: Side, new: Side) -> dict[str, str]:
    """Unified diff by file name, only of the files that differ."""
    pairs = {DEFINITION_NAME: (old.agent_md, new.agent_md), CONFIG_NAME: (old.config_yml, new.config_yml)}
    return {name: _unified(name, before, after, old.name, new.name) for name, (before, after) in pairs.items() if before != after}


def restore(ledger: Ledger, clock: Clock, folder: Path, number: int, *, is_sure: bool) -> dict[str, Any]:
    """Give the folder the files of a version, which becomes the newest one; `{version, kept, changes}`.

    Edits that no version holds, and other limits, need `is_sure`: RefusedError `gate_failed` says what would change. The edits are then
    kept as a version of their own first. Killed half-way, `finish_restore` ends it.
    """
    slug, wanted = folder.name, version_side(ledger, folder.name, number)
    now, differing = folder_side(folder), []
    if now.payload != wanted.payload:
        differing = changes(now, wanted)
    with ledger.reading() as tx:
        saved = {row["payload_hash"]: row["version"] for row in notes.versions(tx, slug)}
    before = saved.get(content_hash(now.payload))
    is_unsaved = before is None
    reasons = ["the folder has edits that no version holds"] if is_unsaved else []
    limits = [change.in_short for change in differing if change.key.partition(".")[0] == "limits"]
    reasons += [f"the limits would change: {'; '.join(limits)}"] if limits else []
    if reasons and not is_sure:
        raise RefusedError(
            f"restore {slug} {number}: {'; '.join(reasons)}",
            hint=f"see `tradeagent agent diff {slug} {number}`, then repeat with --yes (edits are kept as a version)",
            code="gate_failed",
            details={"unsaved": is_unsaved, "limits": limits},
        )
    with ledger.transaction() as tx:
        if before is None:
            before = notes.save_version(tx, slug, now.payload, content_hash(now.payload), KEPT, clock.now_ms())
        notes.put_setting(tx, _marker(slug), {"from": before, "to": number})
    version = _put(ledger, clock, folder, now, wanted)
    return {"version": version, "kept": before if is_unsaved else None, "changes": differing}


def finish_restore(ledger: Ledger, clock: Clock, folder: Path) -> None:
    """End a restore that was killed between its files. What a person has written into them since stays, and ends it too."""
    with ledger.reading() as tx:
        marker = notes.setting(tx, _marker(folder.name))
    if not marker:
        return
    now = folder_side(folder)
    before, wanted = (version_side(ledger, folder.name, marker[end]) for end in ("from", "to"))
    if now.agent_md in (before.agent_md, wanted.agent_md) and now.config_yml in (before.config_yml, wanted.config_yml):
        _put(ledger, clock, folder, now, wanted)
        return
    with ledger.transaction() as tx:
        notes.put_setting(tx, _marker(folder.name), NOTHING)


def _put(ledger: Ledger, clock: Clock, folder: Path, seen: Side, side: Side) -> int:
    """Write both files over the texts that were `seen`, then say in the ledger that they are there."""
    for file, old, new in ((DEFINITION_NAME, seen.agent_md, side.agent_md), (CONFIG_NAME, seen.config_yml, side.config_yml)):
        path = folder / file
        if old != new and try_replace(path, content_hash(old) if path.exists() else None, new, durable=True) is None:
            again = f"save it, then repeat `tradeagent agent restore {folder.name} {side.version}`"
            raise BusyError(f"{path} was edited meanwhile", hint=again)
    slug, now = folder.name, clock.now_ms()
    with ledger.transaction() as tx:
        version = notes.save_version(tx, slug, side.payload, content_hash(side.payload), f"restored from {side.version}", now)
        notes.put_setting(tx, _marker(slug), NOTHING)
        data = {"agent": slug, "restored": side.version, "version": version}
        events.append(tx, EventKind.CONFIG_CHANGED, now, actor=Actor.MANUAL, subject=slug, data=data)
    return version


def _marker(slug: str) -> str:
    return f"restoring:{slug}"


def _changed(file: str, read: Callable[[str], dict[str, str]], before: str, after: str) -> list[Change]:
    if before == after:
        return []
    old, new = read(before), read(after)
    found = [Change(file, key, old.get(key), new.get(key)) for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
    return found or [Change(file, "layout", None, None)]


def _definition(text: str) -> dict[str, str]:
    try:
        front = read_front_matter(text, Path(DEFINITION_NAME))
    except InvalidConfig:
        return {"text": text}
    return {**dict(_flat(front.head.values)), "body": front.body}


def _config(text: str) -> dict[str, str]:
    try:
        return dict(_flat(read_yaml(text, Path(CONFIG_NAME)).values))
    except InvalidConfig:
        return {"text": text}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested sections by dotted key; a list is one value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", f"[{', '.join(map(str, value))}]"
        else:
            yield f"{prefix}{key}", "null" if value is None else str(value)


def _unified(name: str, before: str, after: str, old: str, new: str) -> str:
    return "\n".join(difflib.unified_diff(_lines(before), _lines(after), f"{name} ({old})", f"{name} ({new})", lineterm=""))


def _lines(text: str) -> list[str]:
    """Lines without their ends; one that is missing at the end of the file is a line of its own, as in other diffs."""
    *lines, last = text.split("\n")
    return [*lines, last, "\\ no newline at the end"] if last else lines
