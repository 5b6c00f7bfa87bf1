"""Which servers config.yml and agent.md name, and what is wrong with one."""

from pathlib import Path

import pytest

from tradeagent.domain.errors import InvalidConfig, UnknownKey
from tradeagent.tools.mcp_servers import ServerSpec, resolved, servers_of
from tradeagent.workspace.config import Config, load_config


def configured(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Config:
    file = tmp_path / "config.yml"
    file.write_text(text)
    return load_config(file, env or {})


def test_every_key_of_a_server_is_read(tmp_path: Path) -> None:
    text = """
mcp_servers:
  time:
    command: uvx mcp-server-time --local-timezone "Europe/Berlin"
    env: {TZ: env:MY_ZONE}
    tools: get_current_time, convert_time
    read_only: true
  docs: {url: "https://example.com/mcp", headers: {Authorization: keyring:docs}}
"""
    found = servers_of(configured(tmp_path, text))
    assert found["time"] == ServerSpec(
        "time",
        "time",
        ("uvx", "mcp-server-time", "--local-timezone", "Europe/Berlin"),
        env={"TZ": "env:MY_ZONE"},
        tools=frozenset({"get_current_time", "convert_time"}),
        is_read_only=True,
    )
    assert (found["docs"].url, found["docs"].headers) == ("https://example.com/mcp", {"Authorization": "keyring:docs"})


def test_the_environment_may_name_one(tmp_path: Path) -> None:
    env = {"TRADEAGENT_MCP_SERVERS__TIME__COMMAND": "run it", "TRADEAGENT_MCP_SERVERS__TIME__ENV__MY_Zone": "env:Zone"}
    (found,) = servers_of(configured(tmp_path, "", env)).values()
    assert (found.command, found.env) == (("run", "it"), {"MY_Zone": "env:Zone"})


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("a: {read_only: true}", "needs either command or url"),
        ('a: {command: x, url: "http://h/mcp"}', "needs either command or url"),
        ("a: {command: 'x \"y'}", "no closing quotation"),
        ("a: {command: '  '}", "names no program"),
        ("a__b: {command: x}", "is no name of a server"),
        ("A: {command: x}", "is no name of a server"),
        ("'a b': {command: x}", "is no name of a server"),
        (f"{'a' * 25}: {{command: x}}", "is no name of a server"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_with_its_key(tmp_path: Path, server: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as found:
        servers_of(configured(tmp_path, f"mcp_servers:\n  {server}\n"))
    assert "mcp_servers." in found.value.message and found.value.hint


@pytest.mark.parametrize("key", ["env: {KEY: hush-secret}", "headers: {Authorization: Bearer hush-secret}"])
def test_a_secret_written_into_the_file_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidConfig) as found:
        configured(tmp_path, f"mcp_servers:\n  a:\n    command: x\n    {key}\n")
    assert "hush-secret" not in str(found.value.as_dict()) and "env:NAME" in found.value.hint


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownKey):
        configured(tmp_path, "mcp_servers: {a: {comand: x}}\n")


def test_references_are_looked_up_and_texts_are_texts() -> None:
    spec = ServerSpec("a:b", "b", ("x",), env={"A": "env:MINE", "B": "plain"})
    assert resolved(spec, spec.env, {"MINE": "value"}) == {"A": "value", "B": "plain"}
    with pytest.raises(InvalidConfig, match=r"mcp_servers\.b: A: no key, MINE is not set") as found:
        resolved(spec, spec.env, {})
    assert "export MINE" in found.value.hint
