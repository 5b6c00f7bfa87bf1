"""The folder of an agent: load and check agent.md with config.yml, list agents, make a new one, and the version they form."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tradeagent.agents.definition import AgentDefinition, Scalar
from tradeagent.agents.head_text import flow_text
from tradeagent.agents.problems import problem_of_error, problems_of
from tradeagent.domain.errors import InvalidConfig, InvalidInput, NotFound, TradeAgentError, UnknownKey, near
from tradeagent.domain.limits import SPECS, Limits, parse_limit, resolve_limits
from tradeagent.domain.names import LimitKind
from tradeagent.workspace.files import content_hash, disk_error, read_settled, write_new
from tradeagent.workspace.front_matter import FrontMatter, read_front_matter
from tradeagent.workspace.names import check_slug, slug_of
from tradeagent.workspace.problems import Problem, error_of
from tradeagent.workspace.yaml_text import YamlDocument, read_yaml

DEFINITION_NAME = "agent.md"
CONFIG_NAME = "config.yml"
OFFLINE = "offline/"
_CONFIG_KEY = re.compile(r"[a-z][a-z0-9_]{0,47}")


@dataclass(frozen=True, slots=True)
class Known:
    """What an agent may name: tools and families, offline policies, bar intervals, markets (None = not checked), ceilings on paper."""

    tools: Collection[str]
    offline_policies: Collection[str]
    intervals: Collection[str]
    markets: Collection[str] | None = None
    ceilings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agent:
    """A checked agent: its definition, strategy prompt, active configs (agent.md ← config.yml) and resolved limits."""

    slug: str
    folder: Path
    definition: AgentDefinition
    body: str
    configs: Mapping[str, Scalar]
    limits: Limits
    agent_text: str
    config_text: str

    @property
    def payload(self) -> str:
        """The version that these files make."""
        return payload_of(self.agent_text, self.config_text)

    @property
    def payload_hash(self) -> str:
        return content_hash(self.payload)

    @property
    def agent_hash(self) -> str:
        return content_hash(self.agent_text)

    @property
    def config_hash(self) -> str:
        """Of the active values, wherever they were written."""
        return content_hash(json.dumps({key: str(value) for key, value in self.configs.items()}, sort_keys=True))


def load_agent(folder: Path, known: Known) -> Agent:
    """Read and check an agent's folder.

    Raises NotFound, UnknownKey or InvalidConfig (file, line, field, nearest key, fix), InvalidInput for a folder name that is no slug.
    """
    return parse_agent(folder, *read_texts(folder), known)


def read_texts(folder: Path) -> tuple[str, str]:
    """agent.md and config.yml as they are, unchecked; an absent config.yml is empty. Raises NotFound, BusyError, DataError."""
    check_slug(folder.name, "agent folder")
    try:
        agent_text = read_settled(folder / DEFINITION_NAME)
    except (FileNotFoundError, NotADirectoryError):
        raise _not_found(folder) from None
    try:
        return agent_text, read_settled(folder / CONFIG_NAME)
    except FileNotFoundError:
        return agent_text, ""


def agent_of_payload(folder: Path, payload: str, known: Known) -> Agent:
    """The agent as it was when a version was made; errors as `load_agent`, naming the files of `folder`."""
    return parse_agent(folder, *texts_of(payload), known)


def parse_agent(folder: Path, agent_text: str, config_text: str, known: Known) -> Agent:
    """Check both texts. Errors as `load_agent`."""
    front = read_front_matter(agent_text, folder / DEFINITION_NAME)
    try:
        definition = AgentDefinition.model_validate(front.head.values)
    except ValidationError as error:
        raise error_of(problems_of(error), front.head) from None
    if problems := [*_name_problems(definition, known), *_config_key_problems(definition), *_limit_problems(definition)]:
        raise error_of(problems, front.head)
    try:
        limits = resolve_limits(LimitKind.AGENT, definition.limits, ceilings=known.ceilings)
    except InvalidConfig as error:
        raise error_of([problem_of_error(("limits", str(error.details.get("key", ""))), error)], front.head) from None
    configs = merge_configs(definition.configs, read_yaml(config_text, folder / CONFIG_NAME))
    _check_under_limits(configs, limits, front, folder)
    return Agent(folder.name, folder, definition, front.body, configs, limits, agent_text, config_text)


def list_agents(agents_dir: Path) -> list[Path]:
    """Folders with an agent.md, by name; one whose content is wrong is listed too, since `load_agent` says what is wrong."""
    if not agents_dir.is_dir():
        return []
    return sorted(path.parent for path in agents_dir.glob(f"*/{DEFINITION_NAME}") if not path.parent.name.startswith((".", "_")))


def new_agent(agents_dir: Path, name: str, template: str) -> Path:
    """Make `trading_agents/<slug>/agent.md` from a template with `{name}` in it, and return the folder.

    Raises InvalidInput when the name gives no slug or that agent exists.
    """
    slug = slug_of(name)
    if not slug:
        raise InvalidInput(f"name: {name!r} has no letter or digit", hint="name it like BTC momentum", details={"field": "name"})
    folder = agents_dir / slug
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    text = template.replace("{name}", json.dumps(" ".join(name.split()), ensure_ascii=False))
    if not write_new(folder / DEFINITION_NAME, text, durable=True):
        raise InvalidInput(
            f"an agent {slug!r} exists already", hint=f"edit {folder / DEFINITION_NAME}, or choose another name", details={"slug": slug}
        )
    return folder


def merge_configs(defaults: Mapping[str, Scalar], document: YamlDocument) -> dict[str, Scalar]:
    """agent.md `configs` with the values of config.yml over them. Raises UnknownKey or InvalidConfig with the line."""
    problems: list[Problem] = []
    merged = dict(defaults)
    for key, raw in document.values.items():
        try:
            merged[key] = parse_config(key, raw, defaults)
        except TradeAgentError as error:
            problems.append(problem_of_error((key,), error))
    if problems:
        raise error_of(problems, document)
    return merged


def parse_config(key: str, raw: Any, current: Mapping[str, Scalar]) -> Scalar:
    """A new value for an agent-suggestible key, of the type its current one has.

    Raises UnknownKey for a key that `configs` does not have, InvalidConfig for a limit (user-only) or another type.
    """
    if key in SPECS or key.partition(".")[0] == "limits":
        raise InvalidConfig(f"{key} is a limit: only the user changes it", hint="edit `limits` in agent.md yourself", details={"key": key})
    if key not in current:
        raise UnknownKey(
            f"unknown config key {key!r}", hint=near(key, current) if current else "agent.md has no configs", details={"key": key}
        )
    now = current[key]
    if not isinstance(raw, (str, int, Decimal, bool)) or _kind(raw) != _kind(now):
        said = flow_text(raw) if isinstance(raw, (int, Decimal, bool)) else repr(raw)
        raise InvalidConfig(f"{key}: {said} is not a {_kind(now)}", hint=f"write {key}: {flow_text(now)}", details={"key": key})
    return raw


def cap_over(key: str, value: Scalar, limits: Limits) -> Decimal | None:
    """The limit of a config's own name that a value exceeds: `risk_per_trade_pct` has `max_risk_per_trade_pct`. None when it is fine."""
    cap = limits.number(f"max_{key}") if f"max_{key}" in SPECS else None
    if cap is None or isinstance(value, (bool, str)):
        return None
    return cap if value > cap else None


def payload_of(agent_text: str, config_text: str) -> str:
    """Canonical JSON of a version: the two files as they are, so that a restore gives them back to the letter."""
    return json.dumps({"agent_md": agent_text, "config_yml": config_text}, sort_keys=True, separators=(",", ":"))


def texts_of(payload: str) -> tuple[str, str]:
    """agent.md and config.yml of a version."""
    texts = json.loads(payload)
    return texts["agent_md"], texts["config_yml"]


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "number"


def _not_found(folder: Path) -> NotFound:
    names = [path.name for path in list_agents(folder.parent)]
    hint = near(folder.name, names) if names else "tradeagent agent new NAME"
    return NotFound(f"no agent {folder.name!r} in {folder.parent}", hint=hint, details={"slug": folder.name})


def _name_problems(definition: AgentDefinition, known: Known) -> list[Problem]:
    found = []
    for index, tool in enumerate(definition.tools or ()):
        if tool not in known.tools:
            found.append(Problem(("tools", index), f"tools: unknown tool {tool!r}", near(tool, known.tools)))
    models = [(("model",), definition.model), *((("fallback_models", i), m) for i, m in enumerate(definition.fallback_models))]
    for path, model in models:
        policy = model.removeprefix(OFFLINE)
        if model.startswith(OFFLINE) and policy not in known.offline_policies:
            hint = near(model, [OFFLINE + name for name in known.offline_policies])
            found.append(Problem(path, f"{path[0]}: unknown offline policy {policy!r}", hint))
    for index, market in enumerate(definition.markets):
        if known.markets is not None and market not in known.markets:
            found.append(Problem(("markets", index), f"markets: unknown market {market!r}", near(market, known.markets)))
    bars = definition.context.bars
    if bars is not None and bars.interval not in known.intervals:
        found.append(
            Problem(
                ("context", "bars", "interval"),
                f"context.bars.interval: no bars of {bars.interval!r}",
                f"one of {', '.join(known.intervals)}",
            )
        )
    return found


def _config_key_problems(definition: AgentDefinition) -> list[Problem]:
    found = []
    for key in definition.configs:
        if key in SPECS:
            found.append(Problem(("configs", key), f"configs.{key} is a limit, which an agent may not suggest", "move it to limits"))
        elif not _CONFIG_KEY.fullmatch(key):
            found.append(Problem(("configs", key), f"configs: {key!r} is no key", "use a-z, 0-9 and _, like risk_per_trade_pct"))
    return found


def _limit_problems(definition: AgentDefinition) -> list[Problem]:
    found = []
    for key, raw in definition.limits.items():
        try:
            parse_limit(key, raw)
        except (InvalidConfig, InvalidInput, UnknownKey) as error:
            found.append(problem_of_error(("limits", key), error))
    return found


def _check_under_limits(configs: Mapping[str, Scalar], limits: Limits, front: FrontMatter, folder: Path) -> None:
    """A config never exceeds the limit of its name: `risk_per_trade_pct` stays within `max_risk_per_trade_pct`."""
    problems = []
    for key, value in configs.items():
        cap = cap_over(key, value, limits)
        if cap is not None:
            where = "" if front.head.values.get("configs", {}).get(key) == value else f" (from {folder / CONFIG_NAME})"
            problems.append(
                Problem(("configs", key), f"configs.{key}: {value}{where} is above limits.max_{key} {cap}", f"write at most {cap}")
            )
    if problems:
        raise error_of(problems, front.head)
