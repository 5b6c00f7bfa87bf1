"""Where keys are kept: environment and keyring, with errors that say what to type, and no key in any of them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tradeagent.domain.errors import InvalidConfig, ModelError
from tradeagent.llm.gateway import open_model
from tradeagent.llm.keys import Key, KeyPlace, read_key, scrub, traceback_of
from tradeagent.llm.settings import ModelEntry, ModelSettings

KEY = "a-key-of-no-known-shape"
MODEL = "openai/some-model"


@pytest.fixture
def ring() -> Iterator[dict[tuple[str, str], str]]:
    """A keyring in memory, behind the real library."""
    keyring = pytest.importorskip("keyring")
    kept: dict[tuple[str, str], str] = {}

    class Ring(keyring.backend.KeyringBackend):  # type: ignore[name-defined, misc]
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            kept[service, username] = password

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    yield kept
    keyring.set_keyring(before)


def opened(reference: str, environment: dict[str, str] | None = None) -> Any:
    return open_model(MODEL, ModelSettings(environment or {}, {MODEL: ModelEntry(api_key=reference)}))


def test_a_key_comes_from_the_keyring_and_one_that_is_not_there_names_the_command(ring: dict[tuple[str, str], str]) -> None:
    with pytest.raises(ModelError, match="the keyring has no 'OPENAI' of 'tradeagent'") as caught:
        opened("keyring:OPENAI")
    assert caught.value.hint == "keyring set tradeagent OPENAI"
    ring["tradeagent", "OPENAI"] = KEY
    model = opened("keyring:OPENAI")
    assert read_key(KeyPlace("keyring", "OPENAI", "x"), {}).value == KEY
    assert KEY not in repr(model._key) + repr(vars(model))


def test_a_machine_without_a_keyring_and_one_that_is_locked_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    fail = pytest.importorskip("keyring.backends.fail")
    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    with pytest.raises(ModelError, match="the keyring cannot be read: NoKeyringError") as caught:
        opened("keyring:OPENAI")
    keyring.set_keyring(before)
    assert "env:NAME" in caught.value.hint
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ModelError, match="needs the keyring library") as caught:
        opened("keyring:OPENAI")
    assert "tradeagent[keyring]" in caught.value.hint


@pytest.mark.parametrize("reference", [KEY, "env:", "keyring:", "file:key"])
def test_what_is_no_reference_is_refused_and_not_repeated(reference: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        opened(reference)
    assert f"models.{MODEL}.api_key" in caught.value.message
    assert KEY not in str(caught.value.as_dict())


def test_a_key_in_use_is_taken_out_of_texts_whatever_it_looks_like() -> None:
    assert scrub(f"the server said {KEY}!", {"PLAIN": KEY}) == f"the server said {KEY}!"
    assert scrub(f"the server said {KEY}!", {"PLAIN": KEY}, [Key(KEY)]) == "the server said <key>!"
    assert scrub("a b", {}, [Key("a")]) == "a b"


@pytest.mark.slow
def test_doctor_names_the_key_that_is_missing(tmp_path: Path) -> None:
    def tradeagent(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tradeagent", *arguments, "--workspace", str(tmp_path / "ws")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    subprocess.run([sys.executable, "-m", "tradeagent", "init", str(tmp_path / "ws")], check=True, capture_output=True, timeout=120)
    assert tradeagent("config", "set", f"models.{MODEL}.api_key", "env:MY_OWN_VARIABLE").returncode == 0
    agent = next((tmp_path / "ws" / "trading_agents").glob("*/agent.md"))
    agent.write_text("\n".join(f"model: {MODEL}" if line.startswith("model:") else line for line in agent.read_text().split("\n")))
    said = tradeagent("doctor").stdout
    assert f"models.{MODEL}.api_key: no key, MY_OWN_VARIABLE is not set" in said


def test_a_traceback_is_kept_without_the_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNER_KEY", KEY)
    try:
        raise RuntimeError(f"Signer({KEY!r}) and sk-abcdefgh")
    except RuntimeError as error:
        told = traceback_of(error)
    assert told.endswith("RuntimeError: Signer('<SIGNER_KEY>') and <key>\n")
    assert "test_keys.py" in told and KEY not in told
