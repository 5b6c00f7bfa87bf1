"""The parts of `docs/algorithms.md` that are made from the code: the functions of conditions, and the indicators."""

from tradeagent.algos.expressions import FUNCTIONS
from tradeagent.algos.indicators import table


def functions_table() -> str:
    """One row a function."""
    rows = [f"| `{function.usage}` | {function.meaning} |" for function in FUNCTIONS.values()]
    return "\n".join(["| function | value |", "|---|---|", *rows])


def indicators_table() -> str:
    """One row an indicator, by family."""
    rows = [
        f"| {row['family']} | `{row['kind']}` | {row['title']} | {row['params'] or '–'} | {row['outputs']} | {row['warmup']} "
        f"| {'yes' if row['normalised'] else ''} |"
        for row in table()
    ]
    return "\n".join(["| family | kind | what | parameters | outputs | warm-up | 0–100 |", "|---|---|---|---|---|---|---|", *rows])
