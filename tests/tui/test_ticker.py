"""A line of the ticker: what an agent says to its user is called so, and cannot draw on the screen."""

from tradeagent.tui.glance import Happening
from tradeagent.tui.ticker import _line


def test_an_agents_words_are_called_its_own_and_cannot_draw() -> None:
    data = {"agent": "btc", "text": "look \x1b[31mhere\n[bold]now[/]", "level": "info"}
    line = _line(Happening(0, "notification", "btc_1", data)).plain
    assert line.endswith("btc says “look [31mhere [bold]now[/]”") and "\x1b" not in line and "\n" not in line
