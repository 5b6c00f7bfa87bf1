"""Keys of models: where each is kept, read when a model is opened, and taken out of every text before anybody sees it."""

import importlib
import os
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tradeagent.domain.errors import InvalidConfig, ModelError

KEYRING_SERVICE = "tradeagent"
NONE_NEEDED = "none-needed"
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SECRET_TEXT = re.compile(r"\b(sk-|xai-|gsk_|AIza|tat_|Bearer\s+)[\w\-.*]{6,}")
_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is: `kind` env or keyring, and its `name` there. `wanted_by` is the setting or the model that names it."""

    kind: str
    name: str
    wanted_by: str

    def __str__(self) -> str:
        return self.name if self.kind == "env" else f"keyring:{self.name}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was found, never shown."""

    value: str = field(repr=False)


def key_place(reference: str, setting: str) -> KeyPlace:
    """The place that a reference `env:NAME` or `keyring:NAME` names. Raises InvalidConfig, which does not repeat it: it may be the key."""
    kind, _, name = reference.partition(":")
    if kind not in ("env", "keyring") or not name:
        raise InvalidConfig(
            f"{setting}: not a reference to a key",
            hint=f"put the key in the environment and write {setting}: env:NAME",
            details={"key": setting},
        )
    return KeyPlace(kind, name, setting)


def read_key(place: KeyPlace, environment: Mapping[str, str]) -> Key:
    """The key at that place. Raises ModelError whose hint says how to put it there."""
    value = environment.get(place.name) if place.kind == "env" else _from_keyring(place)
    if value:
        return Key(value)
    if place.kind == "env":
        message, hint = f"no key, {place.name} is not set", f"export {place.name}=… or choose model: offline/momentum"
    else:
        message = f"no key, the keyring has no {place.name!r} of {KEYRING_SERVICE!r}"
        hint = f"keyring set {KEYRING_SERVICE} {place.name}"
    raise ModelError(f"{place.wanted_by}: {message}", hint=hint, details={"model": place.wanted_by, "variable": place.name})


def scrub(text: str, environment: Mapping[str, str], keys: Iterable[Key] = ()) -> str:
    """The text without `keys`, without any value of a secret-looking variable, and without anything shaped like a key."""
    for key in keys:
        if len(key.value) >= _SHORTEST_SECRET:
            text = text.replace(key.value, "<key>")
    for name, value in environment.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name.upper()):
            text = text.replace(value, f"<{name}>")
    return _SECRET_TEXT.sub("<key>", text)


def traceback_of(error: BaseException) -> str:
    """The error's traceback for whoever repairs it: kept in the ledger and pasted into reports, so without keys."""
    return scrub("".join(traceback.format_exception(error)), os.environ)


def _from_keyring(place: KeyPlace) -> str | None:
    """What the system's keyring holds; its library is an extra, and a machine without a desktop often has no keyring at all."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise ModelError(
            f"{place.wanted_by}: {place} needs the keyring library, which is not installed",
            hint="pip install 'tradeagent[keyring]', or keep the key in the environment: env:NAME",
        ) from None
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, place.name)
    except (keyring.errors.KeyringError, ImportError) as error:  # it loads the one that PYTHON_KEYRING_BACKEND names
        raise ModelError(
            f"{place.wanted_by}: the keyring cannot be read: {type(error).__name__}",
            hint="unlock it, or keep the key in the environment: env:NAME",
            details={"variable": place.name},
        ) from None
    return found
