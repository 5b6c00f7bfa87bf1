"""Which workspace a command means, what a name may be, and bounded waiting for a lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tradeagent.domain.errors import BusyError, InvalidInput, NotFound, UserError
from tradeagent.workspace.locks import file_lock
from tradeagent.workspace.names import check_market, check_slug, check_wallet, slug_of
from tradeagent.workspace.paths import Workspace, find_workspace, user_data_dir


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text("")
    return folder


def test_the_flag_beats_the_environment_and_the_folder_upward(tmp_path: Path) -> None:
    flag, env, here = made(tmp_path / "flag"), made(tmp_path / "env"), made(tmp_path / "here")
    variables = {"TRADEAGENT_WORKSPACE": str(env)}
    deep = here / "a" / "b"
    deep.mkdir(parents=True)
    assert find_workspace(str(flag), variables, deep).root == flag
    assert find_workspace(None, variables, deep).root == env
    assert find_workspace(None, {}, deep).root == here
    assert find_workspace("flag", variables, tmp_path).root == flag


def test_without_any_the_user_data_directory_is_meant(tmp_path: Path) -> None:
    data = made(tmp_path / "data" / "tradeagent")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert find_workspace(None, {"XDG_DATA_HOME": str(tmp_path / "data")}, empty).root == data


def test_user_data_directories_follow_the_platform() -> None:
    assert user_data_dir({"HOME": "/home/me"}, "linux") == Path("/home/me/.local/share/tradeagent")
    assert user_data_dir({"HOME": "/home/me", "XDG_DATA_HOME": "relative"}, "linux") == Path("/home/me/.local/share/tradeagent")
    assert user_data_dir({"HOME": "/Users/me", "XDG_DATA_HOME": "/x"}, "darwin") == Path("/Users/me/Library/Application Support/tradeagent")


@pytest.mark.parametrize("source", ["--workspace", "TRADEAGENT_WORKSPACE"])
def test_a_named_workspace_that_is_none_is_not_found(tmp_path: Path, source: str) -> None:
    missing = tmp_path / "nowhere"
    flag, env = (str(missing), {}) if source == "--workspace" else (None, {"TRADEAGENT_WORKSPACE": str(missing)})
    with pytest.raises(NotFound) as caught:
        find_workspace(flag, env, tmp_path)
    assert source in caught.value.message
    assert caught.value.hint == f"tradeagent init {missing}"


def test_no_workspace_anywhere_hints_at_init(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_workspace(None, {"XDG_DATA_HOME": str(tmp_path / "none")}, tmp_path)
    assert caught.value.hint == "tradeagent init"


def test_places_follow_the_documented_layout(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    names = {
        "config.yml": workspace.config_file,
        "trading_agents": workspace.agents_dir,
        "trading_agents/btc_momentum": workspace.agent_dir("btc_momentum"),
        "sessions": workspace.sessions_dir,
        "routines": workspace.routines_dir,
        "state": workspace.state_dir,
        "state/ledger.sqlite": workspace.ledger_file,
        "state/paper/demo.sqlite": workspace.paper_file("demo"),
        "state/threads": workspace.threads_dir,
        "state/locks": workspace.locks_dir,
        "state/logs": workspace.logs_dir,
        "data": workspace.warehouse_dir,
    }
    assert {str(path.relative_to(tmp_path)) for path in names.values()} == set(names)


def test_a_path_is_never_made_from_an_unchecked_name(tmp_path: Path) -> None:
    for name in ("../x", "", "..", "a/b", "A", "x" * 49, "a\n", "é"):
        with pytest.raises(InvalidInput):
            Workspace(tmp_path).paper_file(name)
        with pytest.raises(InvalidInput):
            Workspace(tmp_path).agent_dir(name)


def test_a_read_only_workspace_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Workspace(tmp_path).require_writable()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(UserError) as caught:
        Workspace(tmp_path).require_writable()
    assert caught.value.code == "data_error"
    assert "read-only" in caught.value.message


def test_a_wrong_name_comes_with_the_nearest_right_one() -> None:
    assert check_slug("btc_momentum") == "btc_momentum"
    assert check_wallet("paper-1") == "paper-1"
    with pytest.raises(InvalidInput, match="BTC Momentum!") as caught:
        check_slug("BTC Momentum!")
    assert "'btc_momentum'" in caught.value.hint
    with pytest.raises(InvalidInput) as caught:
        check_wallet("Main Wallet-2")
    assert "'main_wallet-2'" in caught.value.hint


@pytest.mark.parametrize("name", ["BTC", "xyz:TSLA", "@142", "kPEPE", "BTC/USDT", "BTC-PERP"])
def test_markets_are_named_as_venues_name_them(name: str) -> None:
    assert check_market(name) == name


@pytest.mark.parametrize("name", ["", "BTC ", "BTC\n# Rules", "</untrusted>", "buy BTC now", "../x", "x" * 41, "ВТС", "B\u200bTC"])
def test_a_market_s_name_cannot_be_a_sentence_or_a_tag(name: str) -> None:
    with pytest.raises(InvalidInput, match="--market: "):
        check_market(name, "--market")


def test_slugs_are_made_of_what_a_name_says() -> None:
    assert slug_of("BTC momentum") == "btc_momentum"
    assert slug_of("  Été — 4h  ") == "ete_4h"
    assert slug_of("!!!") == ""
    assert len(slug_of("x " * 80)) <= 48


def test_a_held_lock_is_busy_after_a_bounded_wait_and_free_after_death(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "ledger.lock"
    code = (
        "import sys; from pathlib import Path; from tradeagent.workspace.locks import file_lock\n"
        "with file_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=r"ledger\.lock"), file_lock(lock, timeout_s=0.05):
            pytest.fail("entered")
        child.kill()
    with file_lock(lock, timeout_s=5):
        pass
