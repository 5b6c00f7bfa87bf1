"""`confirm`: what was prepared in a conversation or over MCP, shown in full, and done when a person says so."""

from typing import Annotated, Any

import typer

from tradeagent.cli.complete import cards as card_names
from tradeagent.cli.session import session


def register(app: typer.Typer) -> None:
    app.command()(confirm)


def confirm(
    card: Annotated[str | None, typer.Argument(help="id of the card, or the end of it", autocompletion=card_names)] = None,
    list_: Annotated[bool, typer.Option("--list", help="show what waits, and what became of the newest others")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="say no")] = False,
    override: Annotated[bool, typer.Option("--override", help="go on although gates failed; that is recorded")] = False,
    phrase: Annotated[str | None, typer.Option(help="what a card for a real network asks you to type")] = None,
) -> None:
    """Do what a card says, once. Without a terminal to ask on it needs --yes. Example: tradeagent confirm 4F2K

    A card is void as soon as anything that its figures follow from has changed, and expires after 10 minutes.
    """
    from tradeagent.domain.errors import InvalidInput

    current = session()
    if list_ or card is None:
        if not list_:
            raise InvalidInput("card: none is named", hint="tradeagent confirm --list shows what waits")
        _show_list()
        return
    current.workspace.require_writable()
    if dismiss:
        from tradeagent.runtime.cards import dismiss as say_no

        found = say_no(session().place, card)
        current.output.document(found, f"dismissed card {found['card']}: {found['kind']} {found['target']}")
        return
    _commit(card, phrase, override=override)


def _commit(card: str, phrase: str | None, *, override: bool) -> None:
    from tradeagent.assistant.cards import card_dict
    from tradeagent.cli.card_text import card_text
    from tradeagent.cli.output import is_interactive
    from tradeagent.domain.errors import InvalidInput
    from tradeagent.ledger import cards
    from tradeagent.runtime.cards import commit

    current, place = session(), session().place
    with place.ledger.reading() as tx:
        row = cards.get(tx, card)
    shown = card_dict(row)
    is_asking = row.state == "waiting" and not current.flags.yes
    if is_asking and not is_interactive():
        raise InvalidInput(
            f"card {row.id} ({row.kind} {row.target}) is not committed without a confirmation", hint="repeat with --yes", details=shown
        )
    current.output.say(card_text(shown))
    if is_asking:
        wanted = row.consequences.get("type_to_confirm")
        if wanted and phrase is None:
            phrase = typer.prompt(f"type `{wanted}`", err=True)
        failed = row.consequences.get("failed_gates")
        if failed and not override:
            override = typer.confirm(f"{len(failed)} gate(s) failed: {', '.join(failed)}. Go on all the same?", abort=True, err=True)
        else:
            typer.confirm(f"{row.kind} {row.target}?", abort=True, err=True)
    done = commit(place, row.id, phrase=phrase, override=override, shown=row.hash)
    current.output.document(done, f"done: {done['kind']} {done['target']}\n{_result(done['result'])}".rstrip())


def _show_list() -> None:
    from tradeagent.assistant.cards import card_dict, expire
    from tradeagent.cli.output import table
    from tradeagent.ledger import cards
    from tradeagent.runtime.cards import is_open_ended

    current = session()
    with current.ledger.transaction() as tx:
        expire(tx, current.clock.now_ms())
        rows = cards.listed(tx, limit=20)
    found = [card_dict(row) | {"open_ended": is_open_ended(row)} for row in rows]
    lines = [
        row
        | {"state": "committed, result unknown" if row["open_ended"] else row["state"]}
        | {key: f"{row[key][:10]} {row[key][11:19]}" for key in ("created", "expires")}
        for row in found
    ]
    columns = ["card", "kind", "target", "state", "created", "expires"]
    current.output.document(found, table(lines, columns, empty="no cards: the assistant prepares them, nothing is done without one"))


def _result(result: dict[str, Any] | None) -> str:
    from tradeagent.cli.output import pairs

    return pairs({key: value for key, value in (result or {}).items() if not isinstance(value, dict)})
