"""What an empty workspace shows: three ways in, each as the command to type."""

from textual.content import Content
from textual.widgets import Static

_DOORS = (
    ("See it work", "tradeagent demo", "a synthetic market and a rule-based agent: no key, no real money"),
    ("Make an agent", 'tradeagent agent new "My agent"', "then: tradeagent run my_agent --mode dry-run"),
    (
        "Bring your data",
        "tradeagent data import FILE --market BTC --interval 5m",
        "then: tradeagent run btc_momentum --replay hyperliquid:BTC:5m",
    ),
)


class Doors(Static):
    """Shown in place of the stream until something has run; the feed notices by itself."""

    def __init__(self) -> None:
        parts: list[str | tuple[str, str]] = [("Nothing has run here yet. Three doors:\n", "bold")]
        for number, (title, command, note) in enumerate(_DOORS, 1):
            parts += ["\n", (f"{number}  {title}\n", "bold $text-accent"), f"   {command}\n", (f"   {note}\n", "$foreground 65%")]
        parts += ["\n", ("Type them in another terminal; this screen notices by itself. ", "dim"), ("? shows the keys, q closes.", "dim")]
        super().__init__(Content.assemble(*parts), markup=False)
