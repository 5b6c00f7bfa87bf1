"""What the configuration says about models, as values: base addresses, key references, prices, fallbacks, and the environment read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tradeagent.domain.errors import InvalidConfig
from tradeagent.llm.usage import Price
from tradeagent.workspace.config import Config


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """`models.<id>` of config.yml. `api_key` is a reference `env:NAME`, never the key."""

    base_url: str | None = None
    api_key: str | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Everything `open_model` needs: entries by model id, the process environment, and what to try when a model does not answer.

    `fallbacks` are asked in order once the first has failed `1 + retries` times, or been silent for `switch_after_s` seconds, before
    its first token.
    """

    environment: Mapping[str, str]
    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()
    retries: int = 2
    switch_after_s: float = 20.0

    def entry(self, model_id: str) -> ModelEntry:
        return self.models.get(model_id, ModelEntry())

    def base_url(self, model_id: str) -> str | None:
        """`models.<id>.base_url`, else for `openai/<name>` OPENAI_BASE_URL, else OPENAI_API_BASE; None = the provider's own."""
        configured = self.entry(model_id).base_url
        if configured or not model_id.startswith("openai/"):
            return configured
        return self.environment.get("OPENAI_BASE_URL") or self.environment.get("OPENAI_API_BASE") or None

    def key_name(self, model_id: str) -> str | None:
        """Environment variable that holds the model's key; None when only the provider's own adapter knows."""
        reference = self.entry(model_id).api_key
        if reference is None:
            provider, slash, _ = model_id.partition("/")
            return _PROVIDER_KEYS.get(provider) if slash else None
        kind, _, name = reference.partition(":")
        if kind != "env" or not name:
            problem = "keyring references are not read in this version" if kind == "keyring" else "not a reference to a key"
            raise InvalidConfig(
                f"models.{model_id}.api_key: {problem}",
                hint=f"put the key in the environment and write models.{model_id}.api_key: env:NAME",
                details={"key": f"models.{model_id}.api_key"},
            )
        return name


def model_settings(config: Config, environment: Mapping[str, str], fallbacks: Sequence[str] = ()) -> ModelSettings:
    """The `models` section of config.yml as settings; a price needs both of its keys."""
    ids = {path[1] for path in config.values if path[0] == "models"}
    return ModelSettings(environment, {model_id: _entry(config.section("models", model_id)) for model_id in ids}, tuple(fallbacks))


def _entry(written: Mapping[str, object]) -> ModelEntry:
    price_in, price_out = written.get("input_price_per_mtok"), written.get("output_price_per_mtok")
    base_url, api_key = written.get("base_url"), written.get("api_key")
    return ModelEntry(
        base_url if isinstance(base_url, str) else None,
        api_key if isinstance(api_key, str) else None,
        Price(price_in, price_out) if isinstance(price_in, Decimal) and isinstance(price_out, Decimal) else None,
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
