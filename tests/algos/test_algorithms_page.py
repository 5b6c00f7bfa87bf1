"""The lists on `docs/algorithms.md` that people write hold everything that the format has, and nothing else."""

import re
from pathlib import Path

from tradeagent.algos.parse import KEYS
from tradeagent.algos.sides import ENTRY_KEYS, EXIT_KEYS
from tradeagent.algos.spec import LevelKind, SizingKind, TimeoutMode
from tradeagent.cli.reference_algos import functions_table, indicators_table

PAGE = (Path(__file__).resolve().parents[2] / "docs/algorithms.md").read_text()


def column(heading: str) -> list[str]:
    """The words in code style of the first column of the table with that heading; of `pct: 2` the key."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0].split("\n")[2:]
    return [re.sub(r":.*", "", word) for row in table for word in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_every_key_of_the_format_has_its_row() -> None:
    assert sorted(column("key")) == sorted(KEYS)
    assert sorted(column("key of `entry.long`, `entry.short`")) == sorted(ENTRY_KEYS)
    assert sorted(column("key of `exit.long`, `exit.short`")) == sorted(EXIT_KEYS)


def test_every_kind_of_distance_size_and_timeout_has_its_row() -> None:
    assert sorted(column("distance")) == sorted(LevelKind)
    assert sorted(column("`sizing`")) == sorted(SizingKind)
    assert sorted(column("`mode`")) == sorted(TimeoutMode)


def test_the_generated_parts_are_those_of_the_code() -> None:
    assert functions_table() in PAGE and indicators_table() in PAGE
