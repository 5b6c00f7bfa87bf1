"""Entry point: answers the cheapest questions before anything heavy is imported."""

import gc
import os
import sys

# A start makes hundreds of thousands of objects that stay. At Python's own 700 a fifth of it would go into looking for garbage among them.
OBJECTS_BETWEEN_COLLECTIONS = 100_000


def main() -> None:
    """Run the command line and leave with its exit code, which is 130 whenever Ctrl-C came before the end."""
    try:
        code = _answered()
    except KeyboardInterrupt:
        code = _interrupted()
    # CPython remembers a KeyboardInterrupt that left code run from a string, as dataclasses do, and would end with the signal itself
    # whatever the exit code; running another string makes it forget.
    exec("")
    sys.exit(code)


def _answered() -> int:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing here multiplies matrices; the threads alone cost a tenth of a second
    if sys.argv[1:] in (["--version"], ["-V"]):
        from tradeagent import __version__

        sys.stdout.write(f"tradeagent {__version__}\n")
        return 0
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    from tradeagent.cli import interrupts

    interrupts.listen()
    try:
        from tradeagent.cli.entry import run

        code = run(sys.argv[1:])
        interrupts.leave()
    except KeyboardInterrupt:
        code = _interrupted()
        interrupts.leave()
    return code


def _interrupted() -> int:
    """While what tells errors is not imported yet."""
    if "--json" in sys.argv:
        sys.stdout.write('{"error": {"code": "interrupted", "message": "interrupted", "hint": "", "details": {}}}\n')
    sys.stderr.write("error: interrupted\n")
    return 130


if __name__ == "__main__":
    main()
