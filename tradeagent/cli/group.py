"""Command groups whose name alone prints their list."""

from collections.abc import Callable

import typer


def lists(app: typer.Typer) -> Callable[[Callable[..., None]], None]:
    """Makes a function the command `list` of a group, and what the group does when no command is named."""

    def register(shown: Callable[..., None]) -> None:
        @app.callback(invoke_without_command=True)
        def alone(context: typer.Context) -> None:
            if context.invoked_subcommand is None:
                shown()

        app.command(name="list")(shown)

    return register
