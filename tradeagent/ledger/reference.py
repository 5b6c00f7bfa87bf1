"""How a row is named: by its id, or by an end of it that no other row has."""

from typing import Any

from sqlalchemy import Connection, Row, Select

from tradeagent.domain.errors import NotFound


def ending(tx: Connection, rows: Select[Any], reference: str) -> list[Row[Any]]:
    """Those of `rows` whose id ends so, at most two of them; an empty reference names none."""
    if not reference:
        return []
    return list(tx.execute(rows.where(rows.selected_columns["id"].endswith(reference.upper(), autoescape=True)).limit(2)))


def the_one(tx: Connection, rows: Select[Any], reference: str, what: str, hint: str, *, prefix: str = "") -> Row[Any]:
    """The only one of `rows` whose id ends so. NotFound, which says `what` is missing and repeats the reference."""
    found = ending(tx, rows, reference)
    if len(found) != 1:
        many = f"more than one {what} ends" if found else f"there is no {what} whose id ends"
        raise NotFound(f"{prefix}{many} with {reference!r}", hint=hint)
    return found[0]
