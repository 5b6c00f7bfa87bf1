"""Every benchmark, each in a process of its own, so that none warms or loads another: `python -m benchmarks [NAME…] [--json | --write]`."""

import argparse
import json
import subprocess
import sys

from benchmarks.report import Row, row_of, show, write_page

NAMES = (
    "cli_help",
    "status",
    "demo",
    "live_tick",
    "replay",
    "algo_step",
    "fleet",
    "submit",
    "door",
    "commands",
    "reconcile",
    "ledger_size",
    "prompt",
    "model_turn",
    "memory_search",
    "mcp_server",
    "venue",
    "csv_import",
    "optimiser",
    "latest_bars",
    "indicators",
    "sandbox",
    "kernel",
    "peers",
    "backtest_command",
)


def run(name: str) -> list[Row]:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"benchmarks.{name} failed:\n{done.stderr[-2000:]}")
    return [row_of(data) for data in json.loads(done.stdout)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure; exit 1 when a figure misses its bound.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md; with names, the rows of those")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}")
    rows: list[Row] = []
    for name in asked.names or NAMES:
        print(f"measuring {name}", file=sys.stderr)
        rows += run(name)
    show(rows, as_json=asked.json)
    if asked.write:
        print(f"wrote {write_page(rows, is_whole=not asked.names).name}", file=sys.stderr)
    if any(row.verdict == "FAIL" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
