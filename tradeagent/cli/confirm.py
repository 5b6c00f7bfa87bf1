"""Asking before something that costs or deletes."""

import typer

from tradeagent.cli.output import is_interactive
from tradeagent.cli.session import session


def confirmed(what: str) -> None:
    """Go on after a yes, or with --yes; without a terminal to ask on InvalidInput, and nothing is done."""
    if must_ask(what):
        typer.confirm(f"{what}?", abort=True)


def must_ask(what: str) -> bool:
    """Whether a person is there and has not said --yes. InvalidInput when nobody is there to ask."""
    from tradeagent.domain.errors import InvalidInput

    if session().flags.yes:
        return False
    if not is_interactive():
        raise InvalidInput(f"{what}: needs a confirmation", hint="add --yes")
    return True
