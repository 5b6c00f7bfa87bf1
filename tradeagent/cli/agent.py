"""`agent`: the folders of markdown that agents are."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeagent.cli.complete import agents
from tradeagent.cli.output import pairs, table
from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.agents.folder import Agent

app = typer.Typer(help="Agents: folders of markdown.", no_args_is_help=True)
Slug = Annotated[str, typer.Argument(help="agent folder in trading_agents/", autocompletion=agents)]


@app.command(name="list")
def list_() -> None:
    """Every agent, with what is wrong where something is."""
    from tradeagent.agents.folder import list_agents
    from tradeagent.domain.errors import TradeAgentError

    rows: list[dict[str, Any]] = []
    for folder in list_agents(session().workspace.agents_dir):
        try:
            agent = load(folder.name)
        except TradeAgentError as error:
            rows.append({"slug": folder.name, "name": None, "model": None, "markets": [], "schedule": None, "problem": error.message})
            continue
        spec = agent.definition
        schedule = spec.tick_interval or spec.cron
        rows.append(
            {
                "slug": agent.slug,
                "name": spec.name,
                "model": spec.model,
                "markets": list(spec.markets),
                "schedule": schedule,
                "problem": None,
            }
        )
    empty = "no agents yet: `tradeagent agent new NAME`, or `tradeagent init` for the examples"
    session().output.document(rows, table(rows, ["slug", "name", "model", "markets", "schedule", "problem"], empty=empty))


@app.command()
def show(agent: Slug) -> None:
    """One agent: its definition, its active configs, and its limits with their origins."""
    found = load(agent)
    spec = found.definition
    data = {
        "slug": found.slug,
        "folder": str(found.folder),
        **spec.model_dump(mode="json", exclude={"limits", "configs"}),
        "configs": {key: str(value) for key, value in found.configs.items()},
        "limits": {key: {"value": value, "origin": found.limits.origin[key]} for key, value in found.limits.as_dict().items()},
        "hash": found.payload_hash,
        "body": found.body,
    }
    head = {
        "slug": found.slug,
        "name": spec.name,
        "model": spec.model,
        "markets": spec.markets,
        "schedule": spec.tick_interval or spec.cron,
    }
    head["description"] = spec.description
    limits = [{"limit": k, "value": v["value"], "origin": v["origin"]} for k, v in data["limits"].items()]
    text = "\n\n".join(
        [pairs(head), pairs(data["configs"]), table(limits, ["limit", "value", "origin"], right=("value",)), found.body.strip()]
    )
    session().output.document(data, text)


@app.command()
def new(name: Annotated[str, typer.Argument(help='what to call it, like "SOL scalper"')]) -> None:
    """Make an agent from a template that runs at once with a rule-based model; every line is yours to change."""
    from tradeagent.agents.folder import new_agent
    from tradeagent.agents.template import TEMPLATE

    workspace = session().workspace
    workspace.require_writable()
    folder = new_agent(workspace.agents_dir, name, TEMPLATE)
    text = f"made {folder / 'agent.md'}\nnext: edit it, then `tradeagent agent validate {folder.name}`"
    session().output.document({"slug": folder.name, "folder": str(folder)}, text)


@app.command()
def validate(agent: Slug) -> None:
    """Check an agent's folder: every error names file, line, field and fix. Exit 2 when it cannot run."""
    from tradeagent.domain.limits import limit_warnings

    found = load(agent)
    warnings = [*limit_warnings(found.limits), *_broken_routines(found)]
    data = {"ok": True, "slug": found.slug, "hash": found.payload_hash, "warnings": warnings}
    session().output.document(data, "\n".join([f"{found.slug} is fine", *(f"warning: {line}" for line in warnings)]))


def _broken_routines(agent: "Agent") -> list[str]:
    """What is wrong with routines that the agent sees, one sentence each; they do not keep it from running."""
    from tradeagent.domain.errors import TradeAgentError
    from tradeagent.tools.routines import routines_of

    routines = routines_of(session().workspace, agent.folder, session().config)
    said = []
    for routine in routines.listed():
        try:
            routines.schema(routine.name)
        except TradeAgentError as error:
            said.append(error.message)
    return said


def load(slug: str) -> "Agent":
    """An agent of this workspace, checked."""
    from tradeagent.agents.folder import load_agent
    from tradeagent.tools.known import known_to_agents

    return load_agent(session().workspace.agent_dir(slug), known_to_agents(session().config))
