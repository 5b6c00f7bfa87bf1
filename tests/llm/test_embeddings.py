"""Embeddings through the real LiteLLM against a scripted server on the loopback interface."""

import json
from decimal import Decimal
from typing import Any

import pytest
from loopback import Loopback, Reply, failure

from tradeagent.domain.errors import InvalidConfig, ModelError
from tradeagent.llm.embeddings import Embedder, open_embedder
from tradeagent.llm.settings import ModelEntry, ModelSettings
from tradeagent.llm.usage import Usage

MODEL = "openai/own-embedding"
KEY = "a-key-of-no-known-shape"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def vectors(*rows: list[Any], tokens: int | None = 7, order: list[int] | None = None) -> Reply:
    data = [{"object": "embedding", "index": number, "embedding": row} for number, row in enumerate(rows)]
    body: dict[str, Any] = {"object": "list", "model": "m", "data": [data[number] for number in order or range(len(data))]}
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Reply((json.dumps(body),), 200, "application/json")


def embedder(server: Loopback, booked: list[Usage] | None = None, **entry: Any) -> Embedder:
    models = {MODEL: ModelEntry(base_url=server.url, api_key="env:PLAIN", **entry)}
    return open_embedder(MODEL, ModelSettings({"PLAIN": KEY}, models), (booked if booked is not None else []).append)


def test_texts_become_vectors_in_their_order_and_are_booked_at_the_configured_price() -> None:
    booked: list[Usage] = []
    with Loopback(vectors([1.0, 0.0], [0.0, 0.5], tokens=1000, order=[1, 0])) as server:
        found = embedder(server, booked, input_price=Decimal("0.5"))
        assert found.embed(["a", "b"]) == [(1.0, 0.0), (0.0, 0.5)]
        assert found.embed([]) == []
    assert found.dimensions == 2
    assert booked == [Usage(1000, 0, Decimal("0.0005"))]
    assert server.bodies[0]["input"] == ["a", "b"]
    assert server.authorizations == [f"Bearer {KEY}"]


def test_many_and_long_texts_go_in_several_requests() -> None:
    replies = [vectors(*[[0.5]] * 96), vectors(*[[0.5]] * 96), vectors(*[[0.5]] * 8)]
    with Loopback(*replies) as server:
        assert len(embedder(server).embed([f"text {number}" for number in range(200)])) == 200
    assert [len(body["input"]) for body in server.bodies] == [96, 96, 8]
    with Loopback(*[vectors(*[[0.5]] * 8)] * 2) as server:
        assert len(embedder(server).embed(["x" * 50_000] * 15 + [""])) == 16
    assert [len(body["input"]) for body in server.bodies] == [8, 8]
    assert {len(text) for body in server.bodies for text in body["input"]} == {24_000, 1}


def test_without_a_price_or_a_count_the_usage_says_so() -> None:
    booked: list[Usage] = []
    with Loopback(vectors([1.0], tokens=None)) as server:
        embedder(server, booked).embed(["x" * 400])
    assert booked == [Usage(100, 0, None, estimated=True)]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (vectors([1.0]), "1 vectors of [1] dimensions for 2 texts"),
        (vectors([1.0], [1.0, 2.0]), "2 vectors of [1, 2] dimensions for 2 texts"),
        (vectors([], []), "dimensions for 2 texts"),
        (vectors([1.0], ["x"]), "failed"),
        (vectors([1.0], [float("nan")]), "no usable embedding"),
        (failure(401, f"bad key {KEY}"), "refused the key"),
        (failure(404, "unknown"), "does not know this model"),
        (Reply(("<html>",), 200, "text/html"), MODEL),
        (Reply(("{}",), 200, "application/json"), MODEL),
    ],
)
def test_what_is_no_embedding_is_a_model_error_without_the_key(reply: Reply, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeagent.llm.gateway.FIRST_BACKOFF_S", 0.0)
    with Loopback(reply) as server, pytest.raises(ModelError) as caught:
        embedder(server).embed(["a", "b"])
    assert says in caught.value.message
    assert KEY not in str(caught.value.as_dict())


def test_a_model_that_changes_its_dimensions_is_refused_and_a_passing_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeagent.llm.gateway.FIRST_BACKOFF_S", 0.0)
    with Loopback(failure(500), failure(429), vectors([1.0, 2.0]), vectors([1.0])) as server:
        found = embedder(server)
        assert found.embed(["a"]) == [(1.0, 2.0)]
        with pytest.raises(ModelError, match=r"\[1, 2\] dimensions"):
            found.embed(["b"])
    assert len(server.bodies) == 4


def test_without_a_configured_model_the_setting_is_named() -> None:
    for nothing in (None, ""):
        with pytest.raises(InvalidConfig, match=r"memory\.embedding_model is not set") as caught:
            open_embedder(nothing, ModelSettings({}))
        assert "tradeagent config set memory.embedding_model" in caught.value.hint
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set"):
        open_embedder("openai/text-embedding-3-small", ModelSettings({}))
