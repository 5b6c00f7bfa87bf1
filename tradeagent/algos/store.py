"""Finding an algo by what a person types (a name, a version of it, a built-in, a file), and saving versions that never change."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tradeagent.algos import catalogue
from tradeagent.algos.checks import python_problem
from tradeagent.algos.parse import NAME, parse_algo
from tradeagent.algos.sides import DEFAULT_SIZING
from tradeagent.algos.spec import AlgoSpec, Directions, EntryRule, SideRules
from tradeagent.domain.bars import interval_text
from tradeagent.domain.errors import InvalidConfig, InvalidInput, NotFound, near
from tradeagent.ledger import algos as rows
from tradeagent.ledger.algos import AlgoRow
from tradeagent.ledger.store import Ledger

MAX_BYTES = 1024 * 1024
SUFFIXES = (".yml", ".yaml", ".py")


@dataclass(frozen=True, slots=True)
class StoredAlgo:
    """An algo and where it is from. `version` is None for a built-in or a file; `lineage` names the idea whose trials are counted."""

    spec: AlgoSpec
    name: str
    version: int | None
    hash: str
    lineage: str


def find(ledger: Ledger, ref: str) -> StoredAlgo:
    """`NAME`, `NAME@VERSION`, a built-in or template, or the path of a .yml, .yaml or .py file.

    Raises NotFound with the nearest name, InvalidConfig or UnknownKey when the text is wrong.
    """
    if ref.endswith(SUFFIXES):
        return from_file(Path(ref))
    name, at, number = ref.partition("@")
    if at and not (number.isascii() and number.isdigit()):
        raise InvalidInput(
            f"algo: {ref!r} has no version number", hint=f"write {name}@1, or {name} for the newest", details={"field": "algo"}
        )
    with ledger.reading() as tx:
        row = rows.version(tx, name, int(number[:9])) if at else rows.newest(tx, name)
        known = rows.names(tx) if row is None else []
    if row is not None:
        return _stored(row)
    if name in catalogue.texts() and not at:
        return built_in(name)
    if name in known or name in catalogue.texts():
        raise NotFound(f"algo {name!r} has no version {number}", hint=f"tradeagent algo versions {name}")
    hint = near(name, [*known, *catalogue.texts()]) + "; or give the path of a .yml or .py file"
    raise NotFound(f"no algo {ref!r}", hint=hint)


@cache
def built_in(name: str) -> StoredAlgo:
    """One of the algos of the catalogue."""
    text = catalogue.texts()[name]
    return StoredAlgo(parse_algo(text, f"{name}.yml"), name, None, hash_of(text), name)


def from_file(path: Path) -> StoredAlgo:
    """The algo in a file, which need not be saved anywhere; its lineage is its own name. InvalidInput for what is there but no file."""
    if path.exists() and not path.is_file():
        raise InvalidInput(f"algo: {path} is no regular file", hint="give the path of a .yml or .py file", details={"field": "algo"})
    text = read_text(path)
    spec = spec_of(text, path)
    return StoredAlgo(spec, spec.name, None, hash_of(text), spec.name)


def spec_of(text: str, path: Path) -> AlgoSpec:
    """An algo from the text of a file. Raises InvalidConfig or UnknownKey with file and line."""
    return _python(text, path) if path.suffix == ".py" else parse_algo(text, str(path))


def save(ledger: Ledger, name: str, text: str, now_ms: int, *, note: str = "", kind: str = "yaml", lineage: str = "") -> StoredAlgo:
    """Write a version; a text that is saved already gives the version that holds it. `lineage` counts when the name is new.

    Raises InvalidInput for a name that is not one or belongs to a built-in, and whatever is wrong with the text.
    """
    check_name(name)
    spec = spec_of(text, Path(f"{name}.{'py' if kind == 'python' else 'yml'}"))
    row = AlgoRow(name, 0, lineage or name, hash_of(text), kind, text, note, now_ms)
    with ledger.transaction() as tx:
        kept = rows.add(tx, row)
    return StoredAlgo(replace(spec, name=name), name, kept.version, kept.hash, kept.lineage)


def check_name(name: str) -> None:
    """Raises InvalidInput unless `name` can name a saved algo."""
    if not NAME.fullmatch(name):
        raise InvalidInput(f"name: {name!r} is not 1 to 48 letters, digits, _ and -", hint="try my_algo", details={"field": "name"})
    if name in catalogue.texts():
        raise InvalidInput(f"name: {name!r} belongs to a built-in", hint=f"try my_{name}", details={"field": "name"})


def hash_of(text: str) -> str:
    """SHA-256 of the text with line ends and trailing blanks normalised."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip().split("\n")
    return hashlib.sha256("\n".join(line.rstrip() for line in lines).encode()).hexdigest()


def read_text(path: Path) -> str:
    """A file's text. Raises NotFound, or InvalidConfig for what is no text of reasonable size."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidConfig(f"{path} is over {MAX_BYTES // 1024} KiB", hint="an algo is a short text; is this the right file?")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"no file {path}", hint="check the path; `tradeagent algo list` shows saved algos") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read as text: {error}", hint="give a .yml or .py file") from error


def kind_of(found: StoredAlgo) -> str:
    """saved, built_in, template or file."""
    if found.version is not None:
        return "saved"
    if found.spec.text == catalogue.texts().get(found.name):
        return "built_in" if found.name in catalogue.BUILT_INS else "template"
    return "file"


def summary(found: StoredAlgo, kind: str) -> dict[str, Any]:
    """An algo in one row, as lists show it."""
    spec = found.spec
    return {
        "name": found.name,
        "kind": kind,
        "version": found.version,
        "hash": found.hash,
        "market": spec.market or None,
        "interval": interval_text(spec.interval_ms) if spec.interval_ms else None,
        "direction": spec.direction.value,
        "description": catalogue.description(spec.text),
    }


def names_of(ledger: Ledger) -> Iterable[str]:
    """Saved algos, then built-ins and templates."""
    with ledger.reading() as tx:
        return [*rows.names(tx), *catalogue.texts()]


def _stored(row: AlgoRow) -> StoredAlgo:
    spec = spec_of(row.text, Path(f"{row.name}@{row.version}.{'py' if row.kind == 'python' else 'yml'}"))
    return StoredAlgo(replace(spec, name=row.name), row.name, row.version, row.hash, row.lineage)


def _python(text: str, path: Path) -> AlgoSpec:
    """A Python algorithm without levels."""
    wrong = python_problem(text)
    if wrong is not None:
        line, problem, hint = wrong
        raise InvalidConfig(f"{path}:{line}: {problem}", hint=hint, details={"file": str(path), "line": line})
    name = path.name.partition("@")[0].removesuffix(".py")
    free = SideRules(EntryRule(()))
    known = name if NAME.fullmatch(name) else "python"
    return AlgoSpec(known, "", 0, Directions.BOTH, {}, free, free, DEFAULT_SIZING, python=text, text=text)
