"""`agent versions, diff, restore`: how an agent's files changed. `agent suggestions, approve, reject`: what the agent would change."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents, suggestions
from tradeagent.cli.output import table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.agents.suggestions import Decider
    from tradeagent.agents.versions import Change

Slug = Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)]
Id = Annotated[str, typer.Argument(help="id of an open suggestion", autocompletion=suggestions)]
Version = Annotated[int | None, typer.Argument(min=1, help="version number")]
_COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}


def register(app: typer.Typer) -> None:
    app.command()(versions)
    app.command()(diff)
    app.command()(restore)
    app.command(name="suggestions")(suggestions_)
    app.command()(approve)
    app.command()(reject)


def versions(agent: Slug) -> None:
    """Every version that was used, newest first, with what it changed; a hand edit becomes a version when it is next used."""
    from tradeagent.agents.folder import texts_of
    from tradeagent.agents.versions import Side, changes
    from tradeagent.domain.clock import iso
    from tradeagent.ledger import notes

    slug = _folder(agent).name
    with session().ledger.reading() as tx:
        found = notes.versions(tx, slug, with_payload=True)
    sides = [Side(row["version"], *texts_of(row["payload"])) for row in found]
    rows = []
    for row, side, before in zip(found, sides, [*sides[1:], None], strict=True):
        differing = [] if before is None else changes(before, side)
        facts = {key: row[key] for key in ("id", "slug", "version", "payload_hash", "note")}
        rows.append(
            {
                **facts,
                "created_at": iso(row["created_ms"]),
                "changes": _rows(differing),
                "_short": _short(differing) if before else "the first",
            }
        )
    shown = [{**row, "changes": row.pop("_short"), "hash": row["payload_hash"][:12]} for row in rows]
    empty = f"no version yet: the first run makes one, `tradeagent run {slug} --mode dry-run`"
    session().output.document(rows, table(shown, ["version", "created_at", "hash", "note", "changes"], right=("version",), empty=empty))


def diff(agent: Slug, a: Version = None, b: Version = None) -> None:
    """What differs: the newest version and the folder, version A and the folder, or versions A and B.

    Example: tradeagent agent diff btc_momentum 1 2
    """
    from tradeagent.agents.versions import changes, folder_side, unified, version_side
    from tradeagent.ledger import notes

    folder, ledger = _folder(agent), session().ledger
    if a is None:
        with ledger.reading() as tx:
            a = max((row["version"] for row in notes.versions(tx, folder.name)), default=1)
    old = version_side(ledger, folder.name, a)
    new = folder_side(folder) if b is None else version_side(ledger, folder.name, b)
    differing, texts = changes(old, new), unified(old, new)
    data = {
        "agent": folder.name,
        "from": old.version,
        "to": new.version or "folder",
        "same": not texts,
        "changes": _rows(differing),
        "files": [{"file": name, "diff": text} for name, text in texts.items()],
    }
    same = f"{old.name} and {'the ' if new.version is None else ''}{new.name} are the same"
    session().output.document(data, "\n".join(texts.values()) or same, _coloured)


def restore(agent: Slug, version: Annotated[int, typer.Argument(min=1, help="version number")]) -> None:
    """Give the folder the files of a version; journals, learnings and sessions stay. It is in force from the next run.

    Edits that no version holds, and other limits, need --yes; the edits are kept as a version first.
    """
    from tradeagent.agents.versions import finish_restore
    from tradeagent.agents.versions import restore as restore_version

    current, folder = session(), _folder(agent)
    current.workspace.require_writable()
    finish_restore(current.ledger, current.clock, folder)
    done = restore_version(current.ledger, current.clock, folder, version, is_sure=current.flags.yes)
    data = {"agent": folder.name, "restored": version, **done, "changes": _rows(done["changes"])}
    lines = [f"{folder.name} is as in version {version}; it is version {done['version']} now, in force from the next run"]
    lines += [f"your edits are kept as version {done['kept']}"] if done["kept"] else []
    current.output.document(data, "\n".join([*lines, *(f"  {change.in_short}" for change in done["changes"])]))


def suggestions_(
    agent: Slug,
    everything: Annotated[bool, typer.Option("--all", help="answered ones too")] = False,
) -> None:
    """What an agent would change in its config; nothing changes before `agent approve`."""
    from tradeagent.agents.suggestions import suggestion_dict

    found = [suggestion_dict(row) for row in _decider().listed(_folder(agent).name) if everything or row.is_open]
    columns = ["id", "time", "tick", "key", "old", "new", "reason", "state", "note"]
    empty = "no open suggestions; --all shows the answered ones" if not everything else "it has suggested nothing yet"
    session().output.document(found, table(found, columns, right=("tick", "old", "new"), empty=empty))


def approve(suggestion: Id) -> None:
    """Put a suggested value in config.yml: in force from the next run. Every other byte of the file stays.

    Example: tradeagent agent approve 01JD0Z7Q3Y8R5V4W2X1K9M6N0P
    """
    from tradeagent.agents.suggestions import suggestion_dict

    session().workspace.require_writable()
    data = suggestion_dict(_decider().approve(suggestion))
    text = f"{data['agent']}: {data['key']} is {data['new']} in config.yml (was {data['old']}), in force from the next run"
    session().output.document(data, text)


def reject(suggestion: Id, reason: Annotated[str, typer.Option(help="why; the agent reads it")] = "") -> None:
    """Refuse a suggestion; the agent is told in its next tick, and does not ask the same again."""
    from tradeagent.agents.suggestions import suggestion_dict

    session().workspace.require_writable()
    data = suggestion_dict(_decider().reject(suggestion, reason))
    session().output.document(data, f"{data['agent']}: {data['key']} stays {data['old']}")


def _decider() -> "Decider":
    from tradeagent.agents.suggestions import Decider
    from tradeagent.tools.known import known_to_agents

    current = session()
    return Decider(current.workspace.agents_dir, known_to_agents(current.config), current.ledger, current.clock)


def _folder(slug: str) -> Any:
    """The agent's folder, whose files may be wrong; NotFound when there is none."""
    from tradeagent.agents.folder import read_texts

    folder = session().workspace.agent_dir(slug)
    read_texts(folder)
    return folder


def _rows(differing: "list[Change]") -> list[dict[str, Any]]:
    return [{"file": change.file, "key": change.key, "old": change.old, "new": change.new} for change in differing]


def _short(differing: "list[Change]") -> str:
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    return "; ".join(change.in_short for change in differing[:3]) + more


def _coloured(text: str) -> str:
    """A unified diff with its lines coloured, on a terminal that wants colours."""
    if not sys.stdout.isatty() or session().flags.no_color or os.environ.get("NO_COLOR"):
        return text
    lines = text.split("\n")
    return "\n".join(f"{_COLOURS[line[0]]}{line}\x1b[0m" if line[:1] in _COLOURS else line for line in lines)
