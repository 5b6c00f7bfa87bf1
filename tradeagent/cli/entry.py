"""From argv to an exit code: global flags anywhere on the line, every error in one shape, no traceback for a person's mistake."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tradeagent.cli import interrupts
from tradeagent.cli.complete import is_asked, prepare
from tradeagent.cli.output import Output, fail, nobody_reads, open_missing_streams
from tradeagent.cli.session import Globals, set_globals
from tradeagent.domain.errors import Defect, InvalidInput, TradeAgentError

if TYPE_CHECKING:
    from typer._click.exceptions import UsageError

_SWITCHES = {"--json": "json", "--jsonl": "jsonl", "--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "--yes": "yes", "-y": "yes"}
_SWITCHES |= {"--no-color": "no_color"}


def run(arguments: Sequence[str]) -> int:
    """Execute one command line; the exit code."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return fail(_interrupted(), Output(json="--json" in arguments or "--jsonl" in arguments))


def _run(arguments: Sequence[str]) -> int:
    open_missing_streams()
    try:
        flags, rest = split_globals(arguments)
    except TradeAgentError as error:
        return fail(error, Output(json="--json" in arguments))
    set_globals(flags)
    output = Output(json=flags.json or flags.jsonl, quiet=flags.quiet)
    if not rest and not is_asked():
        rest = ["tui"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--help"]
    import typer
    from typer._click.exceptions import UsageError  # Typer carries its own Click and does not export this one

    from tradeagent.cli.app import tree

    if is_asked():
        prepare(_without_globals)
    try:
        result = tree()(args=rest, prog_name="tradeagent", standalone_mode=False)
    except TradeAgentError as error:
        return fail(_unless_interrupted(error), output)
    except UsageError as error:
        return fail(_negative(error, rest) or _misused(error), output)
    except typer.Abort:
        return fail(_interrupted(), output)
    except BrokenPipeError:
        nobody_reads()
        return 1
    except Exception as error:  # noqa: BLE001  # the process boundary: a bug becomes one line and a log, never a traceback on the terminal
        return fail(_unless_interrupted(_defect(error, verbose=flags.verbose)), output)
    if interrupts.heard() and result == interrupts.EXIT_CODE:
        return fail(_interrupted(), output)  # Typer took it, and said nothing
    code = result if isinstance(result, int) else 0
    return code or (interrupts.EXIT_CODE if interrupts.heard() else 0)


def split_globals(arguments: Sequence[str]) -> tuple[Globals, list[str]]:
    """Take the global flags out of a command line, wherever they stand (before `--`)."""
    found: dict[str, bool] = {}
    workspace: str | None = None
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        if item == "--":
            rest += [item, *items]
            break
        if item in _SWITCHES:
            found[_SWITCHES[item]] = True
        elif item in ("--workspace", "-w"):
            workspace = next(items, None)
            if workspace is None or workspace.startswith("--"):
                raise InvalidInput(f"{item} needs a path", hint="tradeagent --workspace PATH COMMAND")
        elif item.startswith("--workspace="):
            workspace = item.partition("=")[2]
        else:
            rest.append(item)
    return Globals(workspace=workspace, **found), rest


def _without_globals(arguments: list[str]) -> list[str]:
    """What a shell has so far, once its global flags are those of this session."""
    flags, rest = split_globals(arguments)
    set_globals(flags)
    return rest


def _misused(error: "UsageError") -> InvalidInput:
    """What is wrong with a command line, in one line; a group without a command says which it has."""
    from typer._click.exceptions import NoArgsIsHelpError
    from typer.core import TyperGroup

    context = error.ctx
    if context is None:
        return InvalidInput(error.format_message(), hint="see `tradeagent --help`")
    path, message = context.command_path, f"{error.format_message()} ({context.command_path})"
    if isinstance(error, NoArgsIsHelpError) and isinstance(context.command, TyperGroup):
        message = f"{path}: name one of its commands: {', '.join(context.command.commands)}"
    return InvalidInput(message, hint=f"see `{path} --help`")


def _interrupted() -> TradeAgentError:
    from tradeagent.domain.errors import Interrupted

    return Interrupted("interrupted", hint="what was done is kept; run the same command again to go on")


def _negative(error: "UsageError", typed: Sequence[str]) -> InvalidInput | None:
    """A negative number, which Click takes for an option that does not exist, or None for another mistake."""
    option = getattr(error, "option_name", "")
    word = next((word for word in typed if option and word.startswith(option)), "")
    if not (word.startswith("-") and word[1:].replace(".", "", 1).isdigit()):
        return None
    hint = f"an amount is above 0; where a negative number is meant, write `--` before it: -- {word}"
    return InvalidInput(f"{word}: a negative number is read as an option", hint=hint)


def _unless_interrupted(error: TradeAgentError) -> TradeAgentError:
    """What Ctrl-C made fail is no failure."""
    return _interrupted() if interrupts.heard() and error.exit_code != interrupts.EXIT_CODE else error


def _defect(error: Exception, *, verbose: bool) -> Defect:
    import traceback

    if verbose:
        from tradeagent.llm.keys import traceback_of  # people paste it into a report

        sys.stderr.write(traceback_of(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('tradeagent/')[2]}:{place.lineno}"
    return Defect(f"a defect in tradeagent: {type(error).__name__} at {where}", hint="please report it with the output of --verbose")
