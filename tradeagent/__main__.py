"""Entry point: answers the cheapest questions before anything heavy is imported."""

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if sys.argv[1:] in (["--version"], ["-V"]):
        from tradeagent import __version__

        sys.stdout.write(f"tradeagent {__version__}\n")
        return
    from tradeagent.cli.entry import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
