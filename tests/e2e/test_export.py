"""`export`: every row of the ledger's money in files that other programs read, with checksums that hold."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from minds import Scripted, run_with
from product import BTC, Product, copied

FORMULA = '=HYPERLINK("http://evil")'


@pytest.fixture(scope="module")
def traded(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A run of forty ticks, one whose model writes a spreadsheet formula for a reason, and a key that must not leave."""
    product = copied(template, tmp_path_factory.mktemp("traded") / "ws")
    assert product.run("run", "btc_momentum", "--replay", BTC, "--max-ticks", "40", "--json").code == 0
    product.rewrite(
        "btc_momentum", ("budget:", "tools: [journal, config]\nmcp_servers: {x: {command: y, env: {KEY: hush-secret}}}\nbudget:")
    )
    asked = [("suggest_config", {"key": "stop_atr", "value": 3, "reason": FORMULA}), ("add_learning", {"text": "a lesson to export"})]
    assert run_with(Scripted(asked), product, "btc_momentum", "--replay", BTC, "--max-ticks", "1").code == 0
    yield product


def exported(product: Product, folder: Path, *options: str) -> dict[str, Any]:
    return dict(product.ask("export", str(folder), *options))


def rows_of(folder: Path, name: str, form: str) -> list[dict[str, Any]]:
    """Rows as texts, however they were stored; None as the empty text."""
    path = folder / f"{name}.{form}"
    if form == "csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    if form == "jsonl":
        found = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
        return [{key: _text(value) for key, value in row.items()} for row in found]
    table = duckdb.sql(f"SELECT * FROM '{path}'")
    return [{key: _text(value) for key, value in zip(table.columns, row, strict=True)} for row in table.fetchall()]


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "" if value is None else str(value)


def test_the_three_formats_hold_the_same_rows_and_the_money_of_the_ledger(traded: Product, tmp_path: Path) -> None:
    told = {form: exported(traded, tmp_path / form, "--format", form) for form in ("csv", "jsonl", "parquet")}
    for name in ("fills", "funding", "flows", "round_trips", "orders", "intents", "equity", "audit", "suggestions", "incidents"):
        as_csv, as_jsonl, as_parquet = (rows_of(tmp_path / form, name, form) for form in ("csv", "jsonl", "parquet"))
        assert as_jsonl == as_parquet, name
        assert [{key: value.removeprefix("'") for key, value in row.items()} for row in as_csv] == as_jsonl, name
        counts = {file["rows"] for one in told.values() for file in one["files"] if file["file"].partition(".")[0] == name}
        assert counts == {len(as_csv)}, name
    fills = traded.ask("fills", "--limit", "100000")
    stored = rows_of(tmp_path / "csv", "fills", "csv")
    assert [(row["time"], row["size"], row["price"], row["fee"]) for row in stored] == [
        (fill["time"], fill["size"], fill["price"], fill["fee"]) for fill in fills
    ]
    assert len(fills) > 5 and sum(Decimal(row["fee"]) for row in stored) > 0


def test_every_checksum_holds_and_no_file_is_unlisted(traded: Product, tmp_path: Path) -> None:
    told = exported(traded, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {**manifest, "folder": str(tmp_path / "out")} == told
    listed = {file["file"]: file for file in manifest["files"]}
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == {*listed, "manifest.json"}
    for name, file in listed.items():
        data = (tmp_path / "out" / name).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest()), name
    session = traded.session_folder("btc_momentum")
    copy = tmp_path / "out" / "agents" / "btc_momentum"
    for name in ("sessions/session_1/journal.md", "sessions/session_1/snapshots/snapshot_7.md", "learnings.md", "suggestions.yml"):
        assert (copy / name).read_bytes() == (session.parents[1] / name).read_bytes()


def test_no_definition_leaves_and_no_cell_is_a_formula(traded: Product, tmp_path: Path) -> None:
    exported(traded, tmp_path / "out")
    everything = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert "a lesson to export" in everything and "hush-secret" not in everything
    assert not list((tmp_path / "out").rglob("agent.md"))
    reasons = [row["reason"] for row in rows_of(tmp_path / "out", "suggestions", "csv")]
    assert reasons == ["'" + FORMULA]
    losses = [row["realised_pnl"] for row in rows_of(tmp_path / "out", "fills", "csv") if row["realised_pnl"].startswith("-")]
    assert losses, "a loss stays a number"


def test_a_span_and_a_wallet_cut_the_rows(traded: Product, tmp_path: Path) -> None:
    every = rows_of(tmp_path / "a", "fills", "csv") if exported(traded, tmp_path / "a") else []
    middle = every[len(every) // 2]["time"]
    exported(traded, tmp_path / "b", "--to", middle)
    exported(traded, tmp_path / "c", "--from", middle)
    assert rows_of(tmp_path / "b", "fills", "csv") + rows_of(tmp_path / "c", "fills", "csv") == every
    traded.ask("wallet", "new", "idle")
    told = exported(traded, tmp_path / "d", "--wallet", "idle")
    assert rows_of(tmp_path / "d", "fills", "csv") == [] and len(rows_of(tmp_path / "d", "flows", "csv")) == 1
    assert "usage.csv" not in [file["file"] for file in told["files"]], "it belongs to no wallet"


def test_links_in_an_agents_folder_are_not_followed(traded: Product, tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("not the agent's")
    session = traded.session_folder("btc_momentum")
    (session / "stranger.md").symlink_to(outside)
    os.mkfifo(session / "pipe.md")
    try:
        exported(traded, tmp_path / "out")
    finally:
        (session / "stranger.md").unlink()
        (session / "pipe.md").unlink()
    assert not [path for path in (tmp_path / "out").rglob("*.md") if path.name in ("stranger.md", "pipe.md")]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("{there}",), "invalid_input", "it is there already"),
        (("{new}", "--format", "xls"), "invalid_input", "'xls'"),
        (("{new}", "--wallet", "nobody"), "not_found", "nobody"),
        (("{new}", "--from", "soon"), "invalid_input", "--from"),
        (("{new}", "--from", "2026-01-02", "--to", "2026-01-01"), "invalid_input", "not before"),
        (("{file}/x",), "data_error", "x"),
    ],
)
def test_a_refused_export_leaves_nothing(traded: Product, tmp_path: Path, options: tuple[str, ...], code: str, said: str) -> None:
    places = {"there": tmp_path / "there", "new": tmp_path / "new", "file": tmp_path / "file"}
    places["there"].mkdir()
    places["file"].write_text("")
    answer = traded.here("export", *(option.format(**places) for option in options), "--json")
    assert answer.code != 0 and answer.error["code"] == code and said in answer.error["message"], answer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"] and not list(places["there"].iterdir())
