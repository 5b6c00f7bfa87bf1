"""Saved algorithms: a name with its lineage, and its versions, which never change once written."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, Select, insert, select

from tradeagent.ledger.research_schema import algo_versions, algos


@dataclass(frozen=True, slots=True)
class AlgoRow:
    """One saved version. `lineage` names the idea that all versions of an algo share; `kind` is yaml or python."""

    name: str
    version: int
    lineage: str
    hash: str
    kind: str
    text: str
    note: str
    created_ms: int


def newest(tx: Connection, name: str) -> AlgoRow | None:
    """The last version of an algo."""
    return _first(tx, _VERSIONS.where(algos.c.name == name).order_by(algo_versions.c.version.desc()))


def version(tx: Connection, name: str, number: int) -> AlgoRow | None:
    return _first(tx, _VERSIONS.where(algos.c.name == name, algo_versions.c.version == number))


def versions(tx: Connection, name: str) -> list[AlgoRow]:
    """Every version of an algo, newest first."""
    query = _VERSIONS.where(algos.c.name == name).order_by(algo_versions.c.version.desc())
    return [AlgoRow(**row._mapping) for row in tx.execute(query)]


def names(tx: Connection) -> list[str]:
    """Every saved algo, by name."""
    return [row[0] for row in tx.execute(select(algos.c.name).order_by(algos.c.name))]


def add(tx: Connection, row: AlgoRow) -> AlgoRow:
    """Write the next version and give it back; a text that is saved already under this name gives that version instead.

    `row.version` is ignored, and `row.lineage` counts for the first version only.
    """
    known = versions(tx, row.name)
    same = next((old for old in known if old.hash == row.hash), None)
    if same is not None:
        return same
    lineage = known[0].lineage if known else row.lineage
    number = known[0].version + 1 if known else 1
    if not known:
        tx.execute(insert(algos).values(name=row.name, lineage=lineage, created_ms=row.created_ms))
    written = replace(row, version=number, lineage=lineage)
    columns = {column.name: getattr(written, column.name) for column in algo_versions.columns}
    tx.execute(insert(algo_versions).values(**columns))
    return written


_VERSIONS: Select[tuple[str, int, str, str, str, str, str, int]] = select(
    algo_versions.c.name,
    algo_versions.c.version,
    algos.c.lineage,
    algo_versions.c.hash,
    algo_versions.c.kind,
    algo_versions.c.text,
    algo_versions.c.note,
    algo_versions.c.created_ms,
).join_from(algo_versions, algos, algo_versions.c.name == algos.c.name)


def _first(tx: Connection, query: Select[tuple[str, int, str, str, str, str, str, int]]) -> AlgoRow | None:
    found = tx.execute(query.limit(1)).first()
    return AlgoRow(**found._mapping) if found else None
