"""From argv to an exit code: global flags anywhere on the line, every error in one shape, no traceback for a person's mistake."""

import os
import sys
from collections.abc import Sequence

from tradeagent.cli import interrupts
from tradeagent.cli.complete import is_asked, prepare
from tradeagent.cli.output import Output, fail, open_missing_streams
from tradeagent.cli.session import Globals, set_globals
from tradeagent.domain.errors import Defect, InvalidInput, TradeAgentError

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
        prepare()
    try:
        result = tree()(args=rest, prog_name="tradeagent", standalone_mode=False)
    except TradeAgentError as error:
        return fail(_unless_interrupted(error), output)
    except UsageError as error:
        where = f" ({error.ctx.command_path})" if error.ctx else ""
        hint = f"see `{error.ctx.command_path} --help`" if error.ctx else "see `tradeagent --help`"
        return fail(InvalidInput(f"{error.format_message()}{where}", hint=hint), output)
    except typer.Abort:
        return fail(_interrupted(), output)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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


def _interrupted() -> TradeAgentError:
    from tradeagent.domain.errors import Interrupted

    return Interrupted("interrupted", hint="what was done is kept; run the same command again to go on")


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
