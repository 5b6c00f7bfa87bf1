"""Making a workspace: the folders, a documented config.yml, the example agents and skills, and an empty ledger."""

import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tradeagent.assistant.skills import shipped as shipped_skills
from tradeagent.domain.errors import InvalidInput
from tradeagent.ledger.store import create_ledger
from tradeagent.workspace.config_text import render_example
from tradeagent.workspace.files import disk_error, write_new
from tradeagent.workspace.paths import Workspace


def init_workspace(root: Path) -> dict[str, Any]:
    """Make what is missing below `root`, and leave the rest; `{workspace, made}`."""
    if root.exists() and not root.is_dir():
        raise InvalidInput(f"{root} is a file", hint="name a folder: tradeagent init PATH")
    workspace = Workspace(root)
    made: list[str] = []
    try:
        kept = (workspace.agents_dir, workspace.skills_dir, workspace.sessions_dir)
        for folder in (root, *kept, workspace.state_dir, workspace.locks_dir, workspace.threads_dir):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(root, error) from error
    if write_new(workspace.config_file, render_example(), durable=True):
        made.append(workspace.config_file.name)
    shipped = sorted((agent for agent in examples().iterdir() if agent.is_dir()), key=lambda agent: agent.name)
    made += [f"{workspace.agents_dir.name}/{agent.name}" for agent in shipped if _copy(agent, workspace.agents_dir / agent.name)]
    skills = ((workspace.skills_dir / skill.name, skill.read_text(encoding="utf-8")) for skill in shipped_skills())
    made += [f"{workspace.skills_dir.name}/{file.name}" for file, text in skills if write_new(file, text, durable=True)]
    if not workspace.ledger_file.exists():
        create_ledger(workspace.ledger_file).close()
        workspace.state_dir.chmod(0o700)
        made.append(str(workspace.ledger_file.relative_to(root)))
    return {"workspace": str(root), "made": made}


def examples() -> Traversable:
    """The example agents that ship with the product: inside the package when installed, beside it in a checkout."""
    packaged = importlib.resources.files("tradeagent") / "examples"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "trading_agents"


def _copy(source: Traversable, target: Path) -> bool:
    """Copy one example agent's definition; False when an agent of that name is there."""
    target.mkdir(parents=True, exist_ok=True)
    return write_new(target / "agent.md", (source / "agent.md").read_text(encoding="utf-8"), durable=True)
