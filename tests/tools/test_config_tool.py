"""`suggest_config`: what a model writes as a value is the value, of the kind it wrote."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from tradeagent.llm.arguments import read_arguments
from tradeagent.llm.contract import ToolResult
from tradeagent.tools.config import CONFIG_TOOLS

TOOL = CONFIG_TOOLS[0]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.1", Decimal("0.1")),
        ("1", Decimal(1)),
        ("0", Decimal(0)),
        ("1e2", Decimal(100)),
        ("true", True),
        ("false", False),
        ('"0.1"', "0.1"),
        ('"true"', "true"),
        ('"4h"', "4h"),
    ],
)
def test_a_number_is_a_number_and_a_text_a_text(written: str, value: Any) -> None:
    found = read_arguments(TOOL, f'{{"key": "k", "value": {written}, "reason": "r"}}')
    assert isinstance(found, BaseModel)
    read = found.model_dump()["value"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "arguments",
    [
        '{"key": "k", "value": null, "reason": "r"}',
        '{"key": "k", "value": [1], "reason": "r"}',
        '{"key": "k", "value": {"x": 1}, "reason": "r"}',
        '{"key": "k", "value": NaN, "reason": "r"}',
        '{"key": "k", "value": 1, "reason": ""}',
        '{"key": "", "value": 1, "reason": "r"}',
        '{"key": "k", "value": 1}',
        '{"key": "k", "value": 1, "reason": "r", "approve": true}',
        f'{{"key": "k", "value": "{"x" * 201}", "reason": "r"}}',
    ],
)
def test_anything_else_is_refused_before_the_handler(arguments: str) -> None:
    found = read_arguments(TOOL, arguments)
    assert isinstance(found, ToolResult) and found.content["error"]["code"] == "invalid_arguments"
