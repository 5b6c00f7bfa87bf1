"""Statements of the hot path: written in SQLAlchemy, compiled once, given to the driver with their values.

For one row SQLAlchemy's own call costs several times what SQLite needs. Columns keep their types: Decimal and JSON are converted as there.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

Row = Mapping[str, Any]
Convert = Callable[[Any], Any] | None
Binders = tuple[Row, list[tuple[str, Convert]]]


def raw(connection: Connection) -> sqlite3.Connection:
    """The driver's connection under one of SQLAlchemy."""
    return cast(sqlite3.Connection, connection.connection.dbapi_connection)


class Write:
    """An INSERT, UPDATE or upsert; the keys of a row are the columns it names, and the parameters of its condition."""

    def __init__(self, statement: UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, ...], tuple[str, Binders]] = {}

    def one(self, tx: Connection, row: Row) -> int:
        """Execute for one row; the number of rows it changed. Raises sqlite3.DatabaseError, as `all` does."""
        sql, binders = self._text(tx, row)
        return raw(tx).execute(sql, _bound(binders, row)).rowcount

    def returning(self, tx: Connection, row: Row) -> Any:
        """Execute for one row; the one value that its RETURNING gives."""
        sql, binders = self._text(tx, row)
        return raw(tx).execute(sql, _bound(binders, row)).fetchone()[0]

    def all(self, tx: Connection, rows: Sequence[Row]) -> None:
        """Execute for several rows that name the same columns."""
        if rows:
            sql, binders = self._text(tx, rows[0])
            raw(tx).executemany(sql, [_bound(binders, row) for row in rows])

    def _text(self, tx: Connection, row: Row) -> tuple[str, Binders]:
        keys = tuple(row)
        found = self._compiled.get(keys)
        if found is None:
            compiled: Any = self._statement.compile(dialect=tx.dialect, column_keys=list(keys))
            found = self._compiled[keys] = (compiled.string, _binders(compiled))
        return found


class Read:
    """A SELECT whose parameters are single values."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._compiled: tuple[str, Binders, tuple[str, ...], list[tuple[int, Callable[[Any], Any]]]] | None = None

    def rows(self, tx: Connection, asked: Row) -> list[list[Any]]:
        """Every row as a list of its columns' values. Raises sqlite3.DatabaseError."""
        sql, binders, _, converts = self._text(tx)
        found = [list(row) for row in raw(tx).execute(sql, _bound(binders, asked))]
        for place, convert in converts:
            for row in found:
                row[place] = convert(row[place])
        return found

    def dicts(self, tx: Connection, asked: Row) -> list[dict[str, Any]]:
        """Every row by column name."""
        found = self.rows(tx, asked)
        names = self._text(tx)[2]
        return [dict(zip(names, row, strict=True)) for row in found]

    def _text(self, tx: Connection) -> tuple[str, Binders, tuple[str, ...], list[tuple[int, Callable[[Any], Any]]]]:
        if self._compiled is None:
            compiled: Any = self._statement.compile(dialect=tx.dialect)
            columns = compiled._result_columns
            processors = [column.type._cached_result_processor(tx.dialect, None) for column in columns]
            converts = [(place, process) for place, process in enumerate(processors) if process is not None]
            self._compiled = compiled.string, _binders(compiled), tuple(column.keyname for column in columns), converts
        return self._compiled


def _binders(compiled: Any) -> Binders:
    fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    return fixed, [(name, compiled._bind_processors.get(name)) for name in compiled.positiontup]


def _bound(binders: Binders, row: Row) -> list[Any]:
    """The values in the statement's order; KeyError for one that the row does not have."""
    fixed, names = binders
    known = {**fixed, **row}
    return [known[name] if process is None else process(known[name]) for name, process in names]
