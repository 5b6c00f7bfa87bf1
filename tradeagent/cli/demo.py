"""`demo`: a throwaway workspace on a synthetic market, labelled as such."""

import tempfile
from pathlib import Path

import typer

from tradeagent.cli.session import session


def headless_demo(ticks: int, seed: int) -> None:
    """Run the demo's ticks without a screen and print the report; the workspace stays where temporary files are, to be read."""
    from tradeagent.cli.run import execute, summary
    from tradeagent.runtime.demo import demo_place, demo_request

    output = session().output
    folder = Path(tempfile.mkdtemp(prefix="tradeagent-demo-"))
    place = demo_place(folder, seed)
    output.say("a synthetic market with a fixed seed: no real price, no real money")
    document, code = execute(place, demo_request(ticks, seed))
    place.ledger.close()
    document |= {"market_data": "synthetic", "workspace": str(folder)}
    output.document(document, "synthetic market, paper wallet, rule-based model\n\n" + summary(document))
    raise typer.Exit(code)


def screen_demo(seed: int) -> None:
    """Open the screen on a demo that runs in a process of its own."""
    import subprocess
    import sys

    from tradeagent.runtime.demo import DEMO_AGENT, DEMO_SOURCE, DEMO_SPEED, demo_place
    from tradeagent.tui.app import open_screen

    with tempfile.TemporaryDirectory(prefix="tradeagent-demo-") as folder:
        place = demo_place(Path(folder), seed)
        command = [sys.executable, "-m", "tradeagent", "--workspace", folder, "run", DEMO_AGENT, "--replay", DEMO_SOURCE]
        command += ["--speed", str(DEMO_SPEED), "--seed", str(seed), "--quiet"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as runner:
            try:
                open_screen(place.workspace, place.config)
            finally:
                runner.terminate()
        place.ledger.close()
