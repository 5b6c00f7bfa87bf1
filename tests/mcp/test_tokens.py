"""Tokens: shown once, kept as a hash, ended at once."""

import json
import re

import pytest

from tradeagent.cli.entry import run
from tradeagent.domain.errors import InvalidInput, NotFound, RefusedError
from tradeagent.domain.names import TokenScope
from tradeagent.ledger import tokens
from tradeagent.runtime.assembly import Place


def typed(place: Place, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = run([*words, "--json", "-w", str(place.workspace.root)])
    return code, json.loads(capsys.readouterr().out)


def issued(place: Place, scope: TokenScope = TokenScope.READ) -> tuple[str, str]:
    token_id = place.clock.new_id()
    with place.ledger.transaction() as tx:
        return token_id, tokens.issue(tx, token_id, "", scope, place.clock.now_ms())


def test_a_new_token_opens_and_no_other_text_does(place: Place) -> None:
    token_id, token = issued(place, TokenScope.TRADE)
    with place.ledger.reading() as tx:
        found = tokens.holder(tx, token)
        assert found is not None and (found.id, found.scope) == (token_id, "trade")
        for wrong in ("", "tat_", token[:-1], token + "x", token.upper(), found.hash, token_id, "\ud800", "tat_" + "a" * 43):
            assert tokens.holder(tx, wrong) is None, wrong


def test_a_token_has_256_bits_and_none_comes_twice(place: Place) -> None:
    made = {issued(place)[1] for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"tat_[A-Za-z0-9_-]{43}", token) for token in made)


def test_a_revoked_token_opens_nothing_and_is_revoked_once(place: Place) -> None:
    token_id, token = issued(place)
    with place.ledger.transaction() as tx:
        tokens.revoke(tx, tokens.get(tx, token_id[-8:]), 5)
        assert tokens.holder(tx, token) is None
        with pytest.raises(RefusedError):
            tokens.revoke(tx, tokens.get(tx, token_id), 6)
        assert tokens.get(tx, token_id).revoked_ms == 5


def test_the_token_is_in_no_file_of_the_workspace(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    code, made = typed(place, capsys, "token", "new", "--scope", "algo", "--name", "inspector")
    assert code == 0 and set(made) >= {"id", "token", "scope"} and made["scope"] == "algo"
    secret = made["token"].encode()
    for file in place.workspace.root.rglob("*"):
        assert not file.is_file() or secret not in file.read_bytes(), file
    for words in (["token", "list"], ["token", "revoke", made["id"]], ["audit"]):
        assert made["token"] not in json.dumps(typed(place, capsys, *words))


def test_the_list_tells_who_and_how_much_and_when(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    _, made = typed(place, capsys, "token", "new", "--scope", "read", "--name", "inspector")
    typed(place, capsys, "token", "revoke", made["id"])
    _, (row,) = typed(place, capsys, "token", "list")
    assert (row["id"], row["name"], row["scope"], row["used"]) == (made["id"], "inspector", "read", None)
    assert row["created"].endswith("Z") and row["revoked"].endswith("Z")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["new", "--scope", "root"], 2, "invalid_input"),
        (["new"], 2, "invalid_input"),
        (["new", "--scope", "read", "--name", "a\nb"], 2, "invalid_input"),
        (["new", "--scope", "read", "--name", "x" * 61], 2, "invalid_input"),
        (["revoke", "tat_given-by-mistake"], 4, "not_found"),
        (["revoke", "%"], 4, "not_found"),
        (["revoke", ""], 4, "not_found"),
    ],
)
def test_bad_input_is_an_error_that_repeats_no_token(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str], code: int, error: str
) -> None:
    found, document = typed(place, capsys, "token", *words)
    assert (found, document["error"]["code"]) == (code, error)
    assert "given-by-mistake" not in json.dumps(document) and document["error"]["hint"]


def test_an_ambiguous_end_names_nothing(place: Place) -> None:
    with place.ledger.transaction() as tx:
        for token_id in ("01A7", "01B7"):
            tokens.issue(tx, token_id, "", TokenScope.READ, 1)
        with pytest.raises(NotFound, match="more than one"):
            tokens.get(tx, "7")
        with pytest.raises(InvalidInput):
            tokens.issue(tx, "01C", "\x1b]0;x", TokenScope.READ, 1)


def test_a_use_is_noted_once_a_minute(place: Place) -> None:
    token_id, _ = issued(place)
    with place.ledger.transaction() as tx:
        tokens.touch(tx, tokens.get(tx, token_id), 1_000_000)
        row = tokens.get(tx, token_id)
    assert tokens.is_touched(row, 1_059_999) and not tokens.is_touched(row, 1_060_000)
