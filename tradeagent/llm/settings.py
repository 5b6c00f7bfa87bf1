"""What the configuration says about models, as values: base addresses, key references, prices, fallbacks, and the environment read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tradeagent.llm.cache import MIB, AnswerStore, CacheMode
from tradeagent.llm.keys import KeyPlace, key_place
from tradeagent.llm.usage import Price
from tradeagent.workspace.config import Config


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """`models.<id>` of config.yml. `api_key` is a reference `env:NAME` or `keyring:NAME`, never the key.

    `input_price` (USD per million tokens) is enough for embeddings; `price` needs both.
    """

    base_url: str | None = None
    api_key: str | None = None
    price: Price | None = None
    input_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Everything `open_model` needs: entries by model id, the process environment, and what to try when a model does not answer.

    `fallbacks` are asked in order once the first has failed `1 + retries` times, or been silent for `switch_after_s` seconds, before
    its first token. `answers` keeps answers as `cache_mode` says. `acp_server` is the command line of the MCP server that an `acp:`
    agent gets as its only tools; empty = none.
    """

    environment: Mapping[str, str]
    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()
    retries: int = 2
    switch_after_s: float = 20.0
    answers: AnswerStore | None = None
    cache_mode: CacheMode = CacheMode.OFF
    acp_server: tuple[str, ...] = ()

    def entry(self, model_id: str) -> ModelEntry:
        return self.models.get(model_id, ModelEntry())

    def base_url(self, model_id: str) -> str | None:
        """`models.<id>.base_url`, else for `openai/<name>` OPENAI_BASE_URL, else OPENAI_API_BASE; None = the provider's own."""
        configured = self.entry(model_id).base_url
        if configured or not model_id.startswith("openai/"):
            return configured
        return self.environment.get("OPENAI_BASE_URL") or self.environment.get("OPENAI_API_BASE") or None

    def key_place(self, model_id: str) -> KeyPlace | None:
        """Where the model's key is kept; None when only the provider's own adapter knows, or an own program needs none."""
        reference = self.entry(model_id).api_key
        if reference is not None:
            return key_place(reference, f"models.{model_id}.api_key")
        provider, slash, _ = model_id.partition("/")
        variable = _PROVIDER_KEYS.get(provider) if slash else None
        return KeyPlace("env", variable, model_id) if variable else None


def model_settings(
    config: Config,
    environment: Mapping[str, str],
    fallbacks: Sequence[str] = (),
    *,
    cache_file: Path | None = None,
    acp_server: Sequence[str] = (),
) -> ModelSettings:
    """The `models` and `model_cache` sections of config.yml as settings; a price of a chat model needs both of its keys."""
    ids = {path[1] for path in config.values if path[0] == "models"}
    mode = CacheMode(config.text("model_cache.mode") or "off")
    answers = None
    if cache_file is not None and mode is not CacheMode.OFF:
        answers = AnswerStore(cache_file, config.whole("model_cache.max_mb") * MIB, logging.getLogger(__name__).warning)
    return ModelSettings(
        environment,
        {model_id: _entry(config.section("models", model_id)) for model_id in ids},
        tuple(fallbacks),
        answers=answers,
        cache_mode=mode,
        acp_server=tuple(acp_server),
    )


def _entry(written: Mapping[str, object]) -> ModelEntry:
    price_in, price_out = written.get("input_price_per_mtok"), written.get("output_price_per_mtok")
    base_url, api_key = written.get("base_url"), written.get("api_key")
    return ModelEntry(
        base_url if isinstance(base_url, str) else None,
        api_key if isinstance(api_key, str) else None,
        Price(price_in, price_out) if isinstance(price_in, Decimal) and isinstance(price_out, Decimal) else None,
        price_in if isinstance(price_in, Decimal) else None,
    )


_PROVIDER_KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "xai": "XAI_API_KEY",
}
