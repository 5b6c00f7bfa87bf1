"""`exchange evaluate`: the document that programs read, the tables that people read, and a refusal in the usual shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from tradeagent.cli.entry import run

# A long of 1 ETH at 3,000 with 500 USDC of its own; the venue's figures are right, except its liquidation price.
ACCOUNT: dict[str, Any] = {
    "meta": {"universe": [{"szDecimals": 4, "name": "ETH", "maxLeverage": 25, "marginTableId": 25}], "marginTables": []},
    "marks": {"ETH": "3000.0"},
    "clearinghouseState": {
        "marginSummary": {"accountValue": "500.0", "totalNtlPos": "3000.0", "totalRawUsd": "-2500.0", "totalMarginUsed": "300.0"},
        "crossMarginSummary": {"accountValue": "500.0", "totalNtlPos": "3000.0", "totalRawUsd": "-2500.0", "totalMarginUsed": "300.0"},
        "crossMaintenanceMarginUsed": "60.0",
        "withdrawable": "200.0",
        "assetPositions": [
            {
                "type": "oneWay",
                "position": {
                    "coin": "ETH",
                    "szi": "1.0",
                    "entryPx": "2950.0",
                    "leverage": {"type": "cross", "value": 10},
                    "positionValue": "3000.0",
                    "unrealizedPnl": "50.0",
                    "marginUsed": "300.0",
                    "liquidationPx": "2551.0",
                },
            }
        ],
        "time": 1765661071083,
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "account.json"
    path.write_text(json.dumps(ACCOUNT))
    return path


def test_every_figure_stands_beside_what_the_venue_published(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exchange", "evaluate", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["equity"], document["margin_used"], document["maintenance_margin"]) == ("500", "300", "60")
    assert (document["withdrawable"], document["published"]["withdrawable"], document["difference"]["withdrawable"]) == ("200", "200", "0")
    assert document["cross"]["difference"] == {"equity": "0", "notional": "0", "margin_used": "0", "maintenance_margin": "0"}
    assert (document["time"], document["is_complete"], document["is_liquidatable"]) == ("2025-12-13T21:24:31.083Z", True, False)

    (row,) = document["positions"]
    assert (row["market"], row["size"], row["entry_price"], row["mark_price"], row["leverage"]) == ("ETH", "1", "2950", "3000", 10)
    assert row["liquidation_price"] == "2551.0204081633"  # 2,500 / 0.98
    assert (row["published"]["liquidation_price"], row["difference"]["liquidation_price"]) == ("2551", "0.0204081633")


def test_people_get_two_tables(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exchange", "evaluate", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["computed", "published", "difference"]
    assert ["account", "equity", "500", "500", "0"] in [line.split() for line in lines]
    assert lines[-1].split()[-3:] == ["2551.0204081633", "2551", "0.0204081633"]


def test_an_account_that_can_be_liquidated_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps({**ACCOUNT, "marks": {"ETH": "2551.0"}}))
    assert run(["exchange", "evaluate", str(file)]) == 0
    assert "can be liquidated" in capsys.readouterr().out


def test_a_wrong_file_is_exit_2_with_its_field(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps({**ACCOUNT, "marks": {"ETH": "much"}}))
    assert run(["exchange", "evaluate", str(file), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "data_error"
    assert error["message"] == f"{file}: marks.ETH: 'much' is not a number"
    assert error["details"] == {"file": str(file), "field": "marks.ETH"}
