"""Settings: one table, four sources, origins, and edits that keep what a person wrote."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from tradeagent.domain.errors import BusyError, InvalidConfig, TradeAgentError, UnknownKey
from tradeagent.workspace.config import Config, load_config, resolve_config
from tradeagent.workspace.config_text import render_example, render_reference, set_value
from tradeagent.workspace.settings import SETTINGS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def load(file: Path, text: str, env: dict[str, str] | None = None, flags: dict[str, str] | None = None) -> Config:
    file.write_text(text)
    return load_config(file, env or {}, flags)


def refused(file: Path, text: str, env: dict[str, str] | None = None) -> TradeAgentError:
    with pytest.raises((InvalidConfig, UnknownKey)) as caught:
        load(file, text, env)
    return caught.value


def test_without_a_file_everything_is_a_default(file: Path) -> None:
    config = load_config(file, {})
    assert config.decimal("paper.cash") == 10_000
    assert config.decimal("paper.taker_fee_bps") == Decimal("4.5")
    assert config.whole("snapshots.keep") == 100
    assert config.flag("live.enabled") is False
    assert config.text("paper.path") == "adverse"
    assert config.text("ledger.url") is None
    assert set(config.origin.values()) == {"default"}


def test_flags_beat_the_environment_beats_the_file_beats_the_defaults(file: Path) -> None:
    text = "paper:\n  cash: 1\n  slippage_bps: 1\n  taker_fee_bps: 1\n"
    env = {"TRADEAGENT_PAPER__SLIPPAGE_BPS": "7", "TRADEAGENT_PAPER__CASH": "7", "TRADEAGENT_WORKSPACE": "/x", "TRADEAGENT_PAPER__PATH": ""}
    config = load(file, text, env, {"paper.cash": "9"})
    rows = {key: (value, origin) for key, value, origin in config.rows()}
    assert rows["paper.cash"] == ("9", "flag")
    assert rows["paper.slippage_bps"] == ("7", "env TRADEAGENT_PAPER__SLIPPAGE_BPS")
    assert rows["paper.taker_fee_bps"] == ("1", "config.yml:4")
    assert rows["paper.maker_fee_bps"] == ("1.5", "default")
    assert rows["paper.path"] == ("adverse", "default")


def test_maps_hold_only_what_is_written(file: Path) -> None:
    text = (
        "models:\n  openai/my-model.v1:\n    base_url: http://h:1/v1\n    api_key: env:KEY\n"
        "instruments:\n  kPEPE:\n    size_decimals: 0\nengine:\n  limits:\n    max_open_positions: 2\n    max_daily_trades: null\n"
        "ceilings:\n  live:\n    max_leverage: 5\nmanual:\n"
    )
    config = load(file, text, {"TRADEAGENT_ENGINE__LIMITS__MAX_LEVERAGE": "2", "TRADEAGENT_INSTRUMENTS__kPEPE__MAX_LEVERAGE": "3"})
    assert config.section("models", "openai/my-model.v1") == {"base_url": "http://h:1/v1", "api_key": "env:KEY"}
    assert config.section("instruments", "kPEPE") == {"size_decimals": 0, "max_leverage": 3}
    assert config.section("engine", "limits") == {"max_open_positions": Decimal(2), "max_daily_trades": None, "max_leverage": Decimal(2)}
    assert config.section("ceilings", "live") == {"max_leverage": Decimal(5)}
    assert config.section("models", "other") == {}


@pytest.mark.parametrize(
    ("text", "line", "words", "hint"),
    [
        ("paper:\n  slipage_bps: 3\n", 2, "unknown key 'paper.slipage_bps'", "paper.slippage_bps"),
        ("papre:\n  cash: 3\n", 2, "unknown key", "paper.cash"),
        ("\nturn: 5\n", 2, "turn is a section", "indented"),
        ("paper: []\n", 1, "paper is a section", "indented"),
        ("paper:\n  cash: [1]\n", 2, "not a number", "number"),
        ("paper:\n  cash: true\n", 2, "not a number", "number"),
        ("paper:\n  cash: 0\n", 2, "0 must be above 0", "above 0"),
        ("paper:\n  cash:\n", 2, "paper.cash: no value", "10000"),
        ("paper:\n  path: nearer\n", 2, "none of adverse, nearest", "nearest"),
        ("live:\n  enabled: yes\n", 2, "not true or false", "true or false"),
        ("snapshots:\n  keep: 1.5\n", 2, "whole number", "whole"),
        ("engine:\n  limits:\n    max_leverge: 3\n", 3, "unknown limit 'max_leverge'", "max_leverage"),
        ("manual:\n  limits:\n    max_leverage: -1\n", 3, "above 0", ""),
        ("manual:\n  limits:\n    max_leverage: 51\n", 3, "above the paper ceiling 50", "50"),
        ("ceilings:\n  paper:\n    max_leverage: 2\nmanual:\n  limits:\n    max_leverage: 3\n", 6, "above the paper ceiling 2", "2"),
        ("engine:\n  limits:\n    max_drawdown_pct: 20\n    halt_drawdown_pct: 10\n", 4, "below max_drawdown_pct 20", "20"),
        ("trading:\n  session_hours: 6-21\n", 2, "trading.session_hours: '6-21'", "mon-fri 06:00-21:00"),
        ("trading:\n  session_hours: 600\n", 2, "not a text", "quotes"),
        ("trading:\n  news_lockout_min: 1441\n", 2, "1441 must be from 0 to 1440", "from 0 to 1440"),
        ("trading:\n  news_lockout_min: 1.5\n", 2, "whole number", "whole"),
        ("portfolio_strategy: 5\n", 1, "not a text", "quotes"),
        ("models:\n  m:\n    base_url: https://u:p@h/\n", 3, "without user and password", "https"),
        ("models:\n  m: {base_url: }\n", 2, "no value", "remove"),
    ],
)
def test_a_wrong_setting_names_file_line_key_and_fix(file: Path, text: str, line: int, words: str, hint: str) -> None:
    error = refused(file, text)
    assert f"config.yml:{line}" in error.message
    assert words in error.message
    assert hint in error.hint
    assert error.details["line"] == line


def test_a_literal_key_is_refused_and_never_repeated(file: Path) -> None:
    error = refused(file, "models:\n  openai/x:\n    api_key: sk-THESECRET\n")
    said = f"{error.message} {error.hint} {error.details}"
    assert "SECRET" not in said
    assert "config.yml:3" in said
    assert "env:NAME" in error.hint
    file.write_text("")
    with pytest.raises(InvalidConfig) as caught:
        set_value(file, "models.openai/x.api_key", "sk-THESECRET")
    assert "SECRET" not in str(caught.value.as_dict())
    assert file.read_text() == ""


def test_a_password_in_an_address_is_not_shown(file: Path) -> None:
    config = load(file, "ledger:\n  url: postgresql://me:hunter2@host/db\n")
    assert config.text("ledger.url") == "postgresql://me:hunter2@host/db"
    assert ("ledger.url", "postgresql://me:***@host/db", "config.yml:2") in list(config.rows())
    assert "hunter2" not in str(refused(file, "ledger:\n  url: mysql://me:hunter2@host\n").as_dict())


def test_a_mistyped_variable_is_an_error_and_foreign_ones_are_not(file: Path) -> None:
    error = refused(file, "", {"TRADEAGENT_PAPER__CSH": "1"})
    assert "TRADEAGENT_PAPER__CSH" in error.message
    assert "paper.cash" in error.hint
    assert "env TRADEAGENT_PAPER__CASH" in refused(file, "", {"TRADEAGENT_PAPER__CASH": "x"}).message
    load(file, "", {"TRADEAGENT_KEYSTORE_PASSWORD": "x", "HOME": "/x", "TRADEAGENT_SHARED": "y"})


def test_the_example_loads_as_it_is_and_equals_the_defaults(file: Path) -> None:
    config = load(file, render_example())
    defaults = load_config(file.with_name("none.yml"), {})
    assert config.values == defaults.values


def test_every_commented_line_of_the_example_is_valid_when_switched_on(file: Path) -> None:
    config = load(file, "\n".join(re.sub(r"^( *)# (?=[\w /<>-]+:)", r"\1", line) for line in render_example().split("\n")[3:]))
    assert len(config.values) == len(SETTINGS)
    assert set(config.origin.values()).isdisjoint({"default"})


def test_the_reference_has_a_row_for_every_setting() -> None:
    rows = render_reference().split("\n")
    for setting in SETTINGS:
        assert any(row.startswith(f"| `{setting.key}` |") and setting.meaning in row for row in rows)


def test_setting_a_value_keeps_comments_order_and_quotes(file: Path) -> None:
    file.write_text("# mine\npaper:\n  cash: 500   # small\n  path: 'nearest'\n\n# end\nlive:\n  enabled: false\n")
    assert set_value(file, "paper.cash", "750.50") == Decimal("750.50")
    assert set_value(file, "models.openai/gpt-4.1.base_url", "https://h/v1") == "https://h/v1"
    assert set_value(file, "portfolio_strategy", "Cash first.\nyes: no") == "Cash first.\nyes: no"
    set_value(file, "fills.volume_cap", "none")
    set_value(file, "live.enabled", "true")
    assert file.read_text() == (
        "# mine\npaper:\n  cash: 750.5 # small\n  path: 'nearest'\n\n# end\nlive:\n  enabled: true\n"
        "models:\n  openai/gpt-4.1:\n    base_url: https://h/v1\nportfolio_strategy: |-\n  Cash first.\n  yes: no\n"
        "fills:\n  volume_cap:\n"
    )
    config = load_config(file, {})
    assert config.text("portfolio_strategy") == "Cash first.\nyes: no"
    assert config.flag("live.enabled")


def test_setting_a_value_in_a_file_of_comments_keeps_them(file: Path) -> None:
    file.write_text("# only words\n")
    set_value(file, "snapshots.keep", "0")
    assert file.read_text() == "# only words\nsnapshots:\n  keep: 0\n"


@pytest.mark.parametrize(("key", "text"), [("paper.csh", "1"), ("paper.cash", "many"), ("manual.limits.max_leverage", "80")])
def test_a_wrong_value_is_refused_before_anything_is_written(file: Path, key: str, text: str) -> None:
    file.write_text("paper:\n  cash: 5\n")
    with pytest.raises((InvalidConfig, UnknownKey)):
        set_value(file, key, text)
    assert file.read_text() == "paper:\n  cash: 5\n"


def test_a_setting_is_not_written_over_a_save_of_the_same_moment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("paper:\n  cash: 5\n")

    def save_meanwhile(*arguments: object) -> Config:
        file.write_text("paper:\n  cash: 6\n")
        return resolve_config(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("tradeagent.workspace.config_text.resolve_config", save_meanwhile)
    with pytest.raises(BusyError):
        set_value(file, "snapshots.keep", "5")
    assert file.read_text() == "paper:\n  cash: 6\n"
