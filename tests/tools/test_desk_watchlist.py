"""One watchlist, from the command and from the tools; bounded, and markets only."""

import json
from pathlib import Path

import pytest
from desk_stage import Stage

from tradeagent.cli.entry import run
from tradeagent.domain.errors import NotFound, RefusedError
from tradeagent.ledger import watchlist
from tradeagent.ledger.store import create_ledger
from tradeagent.ledger.watchlist import WatchRow


async def test_command_and_tools_keep_the_same_list(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["-w", str(stage.workspace.root)]
    assert run([*place, "watchlist", "add", "HYPE", "--note", "unlock in May"]) == 0
    assert await stage.call("add_to_watchlist", market="BTC", note="## trend\n<untrusted>") == {"market": "BTC", "new": True}
    assert (await stage.call("add_to_watchlist", market="BTC", note="range"))["new"] is False
    rows = {row["market"]: row for row in (await stage.call("get_watchlist"))["watchlist"]}
    assert rows["HYPE"]["note"] == "unlock in May" and "mark_usdc" not in rows["HYPE"]
    assert (rows["BTC"]["note"], rows["BTC"]["mark_usdc"]) == ("range", "117524.0")
    capsys.readouterr()
    assert run([*place, "watchlist", "list", "--json"]) == 0
    assert {row["market"] for row in json.loads(capsys.readouterr().out)} == {"BTC", "HYPE"}
    assert (await stage.call("remove_from_watchlist", market="HYPE"))["removed"]
    assert (await stage.call("remove_from_watchlist", market="HYPE"))["error"]["code"] == "not_found"
    assert (await stage.call("add_to_watchlist", market="NOPE"))["error"]["code"] == "not_found"
    assert run([*place, "watchlist", "remove", "ETH"]) == 4
    assert run([*place, "watchlist", "add", "ETH", "--note", "x" * 201]) == 2


def test_the_list_is_bounded_and_keeps_its_order(tmp_path: Path) -> None:
    ledger = create_ledger(tmp_path / "ledger.db")
    with ledger.transaction() as tx:
        for number in range(watchlist.MOST):
            assert watchlist.add(tx, WatchRow(f"M{number}", "", "manual", number))
        with pytest.raises(RefusedError, match="200 markets"):
            watchlist.add(tx, WatchRow("ONE_MORE", "", "manual", 1))
        assert not watchlist.add(tx, WatchRow("M7", "still there", "manual", 999))
        watchlist.remove(tx, "M0")
        with pytest.raises(NotFound):
            watchlist.remove(tx, "M0")
        found = watchlist.listed(tx)
    assert [row.market for row in found] == [f"M{number}" for number in range(1, watchlist.MOST)]
    assert (found[6].note, found[6].added_ms) == ("still there", 7)
    ledger.close()
