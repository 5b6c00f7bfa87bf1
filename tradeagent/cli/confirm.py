"""Asking before something is deleted."""

import typer

from tradeagent.cli.session import session


def confirmed(what: str) -> None:
    """Go on after a yes, or with --yes; without a terminal to ask on InvalidInput, and nothing is done."""
    from tradeagent.cli.output import is_interactive
    from tradeagent.domain.errors import InvalidInput

    if session().flags.yes:
        return
    if not is_interactive():
        raise InvalidInput(f"not done without a confirmation: {what}", hint="repeat with --yes")
    typer.confirm(f"{what}?", abort=True)
