"""Search by meaning: pieces of documents as vectors of a model, kept in the index by content, and the cosine to the query's vector."""

import hashlib
import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tradeagent.agents.text import one_line
from tradeagent.domain.errors import ModelError

PIECE_CHARACTERS = 1_500
MAX_PIECES = 64
BATCH = 64
# One search makes at most so many new vectors, newest documents first; the next one goes on.
MAX_NEW = 2_048
SNIPPET_CHARACTERS = 300
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_UNCUT = """
SELECT documents.id, documents.title, words.body FROM documents JOIN words ON words.rowid = documents.id
WHERE documents.id NOT IN (SELECT document FROM chunks)
"""
_WITHOUT_VECTOR = """
SELECT chunks.hash, documents.title, substr(words.body, chunks.begin + 1, chunks.length)
FROM chunks JOIN documents ON documents.id = chunks.document JOIN words ON words.rowid = documents.id
WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.model = ? AND vectors.hash = chunks.hash)
GROUP BY chunks.hash ORDER BY max(documents.modified_ns) DESC LIMIT ?
"""
_VECTORS = """
SELECT chunks.document, chunks.begin, chunks.length, vectors.vector
FROM chunks JOIN documents ON documents.id = chunks.document JOIN vectors ON vectors.hash = chunks.hash AND vectors.model = ?
WHERE substr(documents.key, 1, ?) = ?
"""
_SHOWN = """
SELECT documents.key, documents.title, substr(words.body, ?, ?), documents.modified_ns
FROM documents JOIN words ON words.rowid = documents.id WHERE documents.id = ?
"""

Row = tuple[str, str, str, float, int]


@dataclass(frozen=True, slots=True)
class Embedding:
    """A model that makes vectors: its id, and one vector for each text. It raises ModelError."""

    model: str
    embed: Callable[[list[str]], Sequence[Sequence[float]]]


def nearest(database: sqlite3.Connection, embedding: Embedding, query: str, start: str, limit: int) -> list[Row]:
    """(key, title, snippet, cosine, UTC ms) of the documents below `start` whose best piece is nearest to the query.

    Raises ModelError when the model fails or its vectors do not fit each other; what was made until then is kept.
    """
    import numpy as np

    _cut(database)
    _make_vectors(database, embedding)
    (asked,) = _vectors(embedding, [query])
    rows = database.execute(_VECTORS, (embedding.model, len(start), start)).fetchall()
    rows = [row for row in rows if len(row[3]) == len(asked)]
    if not rows:
        return []
    known = np.frombuffer(b"".join(row[3] for row in rows), dtype=np.float32).reshape(len(rows), -1)
    scores = known @ np.frombuffer(asked, dtype=np.float32)
    best: dict[int, tuple[float, int, int]] = {}
    for index in np.argsort(-scores, kind="stable"):
        document, begin, length, _ = rows[index]
        best.setdefault(document, (float(scores[index]), begin, length))
        if len(best) == limit:
            break
    return [_row(database, document, *found) for document, found in best.items()]


def pieces(text: str) -> list[tuple[int, int]]:
    """(start, length) of the parts of a text, whole paragraphs where they fit, at most `PIECE_CHARACTERS` each; at least one."""
    ends = [match.end() for match in _PARAGRAPH.finditer(text)] + [len(text)]
    found: list[tuple[int, int]] = []
    begin = end = 0
    for stop in ends:
        if stop - begin > PIECE_CHARACTERS and end > begin:
            found.append((begin, end - begin))
            begin = end
        while stop - begin > PIECE_CHARACTERS:
            found.append((begin, PIECE_CHARACTERS))
            begin += PIECE_CHARACTERS
        end = stop
    return [*found, (begin, len(text) - begin)][:MAX_PIECES]


def _cut(database: sqlite3.Connection) -> None:
    """Cut documents that are new since the last search by meaning."""
    rows = [
        (document, begin, length, hashlib.sha256(_asked(title, body[begin : begin + length]).encode("utf-8", "replace")).hexdigest())
        for document, title, body in database.execute(_UNCUT)
        for begin, length in pieces(body)
    ]
    if rows:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM chunks WHERE document = ?", {(row[0],) for row in rows})
        database.executemany("INSERT INTO chunks (document, begin, length, hash) VALUES (?, ?, ?, ?)", rows)
        database.execute("DELETE FROM vectors WHERE hash NOT IN (SELECT hash FROM chunks)")
        database.execute("COMMIT")


def _make_vectors(database: sqlite3.Connection, embedding: Embedding) -> None:
    missing = database.execute(_WITHOUT_VECTOR, (embedding.model, MAX_NEW)).fetchall()
    for first in range(0, len(missing), BATCH):
        batch = missing[first : first + BATCH]
        made = _vectors(embedding, [_asked(title, text) for _, title, text in batch])
        rows = [(embedding.model, row[0], vector) for row, vector in zip(batch, made, strict=True)]
        database.executemany("INSERT OR REPLACE INTO vectors (model, hash, vector) VALUES (?, ?, ?)", rows)


def _asked(title: str, text: str) -> str:
    return f"{title}\n{text}"


def _vectors(embedding: Embedding, texts: list[str]) -> list[bytes]:
    """One vector of length 1 for each text, as float32 bytes."""
    import numpy as np

    made = np.array(embedding.embed(texts), dtype=np.float64)
    if made.ndim != 2 or made.shape[0] != len(texts) or not made.shape[1] or not np.isfinite(made).all():
        problem = f"{embedding.model}: {len(texts)} texts were answered with an array of {made.shape}"
        raise ModelError(problem, hint="check memory.embedding_model in config.yml")
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    return [row.tobytes() for row in (made / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)]


def _row(database: sqlite3.Connection, document: int, score: float, begin: int, length: int) -> Row:
    key, title, text, modified_ns = database.execute(_SHOWN, (begin + 1, length, document)).fetchone()
    return key, title, one_line(text, SNIPPET_CHARACTERS), round(score if math.isfinite(score) else 0.0, 4), modified_ns // 1_000_000
