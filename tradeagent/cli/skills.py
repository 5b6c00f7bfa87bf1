"""`skills`: pages of instructions that you give the assistant when a task needs them."""

from typing import Annotated, Any

import typer

from tradeagent.cli.complete import skills
from tradeagent.cli.group import lists
from tradeagent.cli.output import table
from tradeagent.cli.session import session

app = typer.Typer(help="Skills of the assistant: instructions in skills/, put on a conversation's stack. Alone it lists them.")
_EMPTY = "no skills: `tradeagent init` copies the examples, or write skills/NAME.md with name and description in its front matter"


@lists(app)
def list_() -> None:
    """Every skill, what it is for, and what it costs in each prompt (characters / 4)."""
    from tradeagent.assistant.skills import Skills

    found, broken = Skills(session().workspace).all()
    rows: list[dict[str, Any]] = [
        {"name": skill.name, "description": skill.description, "tokens": skill.tokens, "problem": None} for skill in found
    ]
    rows += [{"name": one.name, "description": None, "tokens": None, "problem": one.error.message} for one in broken]
    columns = ["name", "tokens", "description", *(["problem"] if broken else [])]
    session().output.document(rows, table(rows, columns, right=("tokens",), empty=_EMPTY))


@app.command()
def show(name: Annotated[str, typer.Argument(help="name of a skill", autocompletion=skills)]) -> None:
    """Print one skill, or what is wrong with its file. Example: tradeagent skills show backtest-review"""
    from tradeagent.assistant.skills import Skills

    skill = Skills(session().workspace).load(name)
    data = {"name": skill.name, "description": skill.description, "tokens": skill.tokens, "body": skill.body}
    session().output.document(data, f"{skill.description}\n{skill.tokens} tokens in each prompt\n\n{skill.body}")
