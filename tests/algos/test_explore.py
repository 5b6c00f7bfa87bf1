"""What `explore` counts, against counting by hand, and the file of values it writes."""

from pathlib import Path

import numpy as np
import pytest

from tests.algos.test_evaluate import algo, bars_of, walk
from tradeagent.algos.evaluate import Evaluator
from tradeagent.algos.explore import explore, write_values
from tradeagent.domain.errors import DataError, InvalidInput


def test_conditions_near_misses_and_blockers_are_counted() -> None:
    spec = algo('required: ["close > 5", "open > 5"], optional: ["close > 90", "close == 8"]', 'required: ["close < 5"]')
    told = explore(Evaluator(bars_of([8.0, 8, 6, 1, 8, 7, 8, 8])), spec)
    entry, exit_ = told["rules"]
    assert (entry["requirements"], entry["true_bars"], entry["fires"], entry["near_misses"]) == (3, 4, 2, 3)
    assert entry["missing"] == (4, 3, 1, 0), "bars that lack none, one, two, three requirements"
    uses = {use["condition"]: (use["true_bars"], use["flips"], use["blocked"]) for use in entry["conditions"]}
    assert uses == {"close > 5": (7, 2, 0), "open > 5": (7, 2, 1), "close > 90": (0, 0, 2), "close == 8": (5, 4, 2)}
    assert exit_["part"] == "exit" and exit_["fires"] == 1 and exit_["near_misses"] == 0
    assert told["blockers"][0]["blocked"] == 2 and told["blockers"][-1] == {
        "side": "long",
        "condition": "open > 5",
        "indicators": ["open"],
        "blocked": 1,
    }
    assert told["signals"]["fire_long"] == 2 and told["signals"]["exit_long"] == 1 and told["ambiguous"] == 0


def test_values_are_bars_and_outputs_without_loss(tmp_path: Path) -> None:
    import duckdb

    spec = algo('required: ["rsi > bb.upper"]', rest="indicators: {rsi: {kind: rsi, length: 3}, bb: {kind: bollinger, length: 4}}")
    evaluator, file = Evaluator(walk(2, 80)), tmp_path / "it's.parquet"
    names = write_values(file, evaluator, spec)
    assert names == ["time", "open", "high", "low", "close", "volume", "rsi", "bb.upper", "bb.middle", "bb.lower"]
    read = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(file)]).fetchnumpy()
    assert list(read) == names
    np.testing.assert_array_equal(read["time"], evaluator.bars.time)
    np.testing.assert_array_equal(np.ma.filled(read["rsi"], np.nan), evaluator.columns(spec)["rsi"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it's.parquet"]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    spec, evaluator = algo('required: ["close > open"]'), Evaluator(walk(2, 20))
    with pytest.raises(InvalidInput):
        write_values(tmp_path / "values.csv", evaluator, spec)
    with pytest.raises(DataError):
        write_values(tmp_path / "none" / "values.parquet", evaluator, spec)
