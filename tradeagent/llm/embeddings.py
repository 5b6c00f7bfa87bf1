"""Texts as vectors, through LiteLLM, so that memories can be found by meaning: batched, checked, priced. Blocking; call it in a thread."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from tradeagent.domain.errors import InvalidConfig, ModelError
from tradeagent.llm.contract import CHARACTERS_PER_TOKEN
from tradeagent.llm.gateway import cost_usd, find_key, load_litellm, pause_s, provider_error
from tradeagent.llm.settings import ModelSettings
from tradeagent.llm.usage import Price, Usage

MAX_CHARACTERS = 24_000
_BATCH_TEXTS = 96
_BATCH_CHARACTERS = 200_000
_TIMEOUT_S = 60.0
_ATTEMPTS = 3
Vector = tuple[float, ...]


def open_embedder(model_id: str | None, settings: ModelSettings, book: Callable[[Usage], None] = lambda _: None) -> "Embedder":
    """The model of `memory.embedding_model`; `book` is told the usage of each request. Nothing is imported or called yet.

    Raises InvalidConfig when none is configured, ModelError when its key is missing.
    """
    if not model_id:
        raise InvalidConfig(
            "memory.embedding_model is not set, so nothing can be found by meaning",
            hint="tradeagent config set memory.embedding_model openai/text-embedding-3-small",
            details={"key": "memory.embedding_model"},
        )
    return Embedder(model_id, settings, book)


class Embedder:
    """One embedding model; every vector it gives has the same number of dimensions."""

    def __init__(self, model_id: str, settings: ModelSettings, book: Callable[[Usage], None]) -> None:
        self.id = model_id
        self.dimensions: int | None = None
        self._settings = settings
        self._book = book
        self._place = settings.key_place(model_id)
        self._key = find_key(self._place, settings, model_id)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector per text, in order; only the first 24,000 characters of a text count. Raises ModelError."""
        vectors: list[Vector] = []
        for batch in _batches([text[:MAX_CHARACTERS] or " " for text in texts]):
            vectors += self._checked(self._asked(batch), len(batch))
        return vectors

    def _asked(self, batch: Sequence[str]) -> list[Vector]:
        lib = load_litellm()
        request: dict[str, Any] = {"model": self.id, "input": list(batch), "timeout": _TIMEOUT_S, "encoding_format": "float"}
        request |= {"max_retries": 0, "num_retries": 0}
        if base_url := self._settings.base_url(self.id):
            request["api_base"] = base_url
        if self._key is not None:
            request["api_key"] = self._key.value
        for attempt in range(_ATTEMPTS):
            try:
                answer = lib.embedding(**request)
                rows = sorted(answer.data, key=lambda row: row["index"])
                vectors = [tuple(float(number) for number in row["embedding"]) for row in rows]
            except Exception as error:  # noqa: BLE001 - LiteLLM raises whatever its adapters raise; all of it is the model's failure
                failure = provider_error(self.id, error, self._place, self._key, self._settings.environment)
                pause = pause_s(failure, attempt) if attempt + 1 < _ATTEMPTS else None
                if pause is None:
                    raise failure from None
                time.sleep(pause)
            else:
                break
        self._book(self._usage(lib, answer, batch))
        return vectors

    def _checked(self, vectors: list[Vector], wanted: int) -> list[Vector]:
        """The vectors, when there is one per text and all have the dimensions of those before."""
        sizes = {len(vector) for vector in vectors}
        if self.dimensions is not None:
            sizes.add(self.dimensions)
        if len(vectors) != wanted or len(sizes) != 1 or 0 in sizes or not all(map(math.isfinite, (n for v in vectors for n in v))):
            told = f"{len(vectors)} vectors of {sorted(sizes)} dimensions for {wanted} texts"
            raise ModelError(f"{self.id}: no usable embedding: {told}", hint="check memory.embedding_model", details={"model": self.id})
        self.dimensions = sizes.pop()
        return vectors

    def _usage(self, lib: Any, answer: Any, batch: Sequence[str]) -> Usage:
        reported = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        tokens = reported or sum(map(len, batch)) // CHARACTERS_PER_TOKEN
        price_in = self._settings.entry(self.id).input_price
        price = Price(price_in, price_in) if price_in is not None else None
        return Usage(tokens, 0, cost_usd(lib, self.id, price, tokens, 0), estimated=not reported)


def _batches(texts: Sequence[str]) -> list[list[str]]:
    """The texts in order, in requests that providers take."""
    batches: list[list[str]] = [[]]
    for text in texts:
        full = len(batches[-1]) >= _BATCH_TEXTS or sum(map(len, batches[-1])) + len(text) > _BATCH_CHARACTERS
        if full and batches[-1]:
            batches.append([])
        batches[-1].append(text)
    return batches if texts else []
