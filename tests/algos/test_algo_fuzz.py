"""Broken texts are errors with a message, whatever is broken; what is accepted can be computed, explored and judged."""

import numpy as np
import pytest

from tests.algos.random_algos import random_text
from tests.algos.test_evaluate import FIVE, walk
from tests.algos.test_parse_algo import FULL
from tradeagent.algos import catalogue
from tradeagent.algos.analysis import analyse
from tradeagent.algos.checks import warnings_of
from tradeagent.algos.evaluate import Evaluator, warmup_of
from tradeagent.algos.explore import explore
from tradeagent.algos.params import params_of, with_params
from tradeagent.algos.parse import parse_algo
from tradeagent.domain.errors import TradeAgentError

SPLINTERS = ["null", "[]", "{}", "-1", "0", "1e30", "true", "rsi", "[1, 2]", ": ", "\n", "  ", "- ", "1h", "9" * 25, "é", "@", ","]
EVALUATOR = Evaluator(walk(1, 200))


@pytest.mark.parametrize("seed", range(6))
def test_a_broken_text_is_never_a_crash(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = [FULL, random_text(rng, "BTC", FIVE), *catalogue.texts().values()]
    for _ in range(40):
        text = broken(texts[int(rng.integers(len(texts)))], rng)
        try:
            spec = parse_algo(text, "broken.yml")
        except TradeAgentError as error:
            assert error.message and error.exit_code == 2
            continue
        survives(text, rng)
        assert spec.text == text


def broken(text: str, rng: np.random.Generator) -> str:
    for _ in range(int(rng.integers(1, 4))):
        place, cut = int(rng.integers(len(text))), int(rng.integers(0, 7))
        splinter = SPLINTERS[int(rng.integers(len(SPLINTERS)))] if rng.random() < 0.6 else ""
        text = text[:place] + splinter + text[place + cut :]
    return text


def survives(text: str, rng: np.random.Generator) -> None:
    """Everything that is done with an accepted algo works, or says why not."""
    spec = parse_algo(text, "broken.yml")
    try:
        assert warmup_of(spec) >= 0 and warnings_of(spec) is not None
        assert explore(EVALUATOR, spec)["bars"] == len(EVALUATOR.bars)
        assert "nan" not in str(analyse(EVALUATOR, spec).as_dict()).lower()
        for name in list(params_of(spec))[:3]:
            with_params(spec, {name: ["x", "0", "-1", "9" * 40, "1e5"][int(rng.integers(5))]})
    except TradeAgentError as error:
        assert error.message  # an algo may be well written and still not fit these bars
