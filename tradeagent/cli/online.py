"""What commands that ask the venue share: the client, its address, and progress of a fetch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tradeagent.cli.session import session

if TYPE_CHECKING:
    from tradeagent.hyperliquid.client import InfoClient

Url = Annotated[str | None, typer.Option("--url", help="the venue's address, if not hyperliquid.url of config.yml", metavar="URL")]


@contextmanager
def info_client(url: str | None) -> "Iterator[InfoClient]":
    """The venue's info endpoint, for as long as one command takes. InvalidInput when `url` is none."""
    import re

    from tradeagent.domain.errors import Interrupted, InvalidInput
    from tradeagent.hyperliquid.client import MAINNET, InfoClient

    if url is not None and not re.fullmatch(r"https?://[^\s@/]+/?", url):
        raise InvalidInput(f"--url: {url!r} is not an address", hint="write it like https://api.hyperliquid.xyz")
    client = InfoClient(url or session().config.text("hyperliquid.url") or MAINNET, session().clock)
    try:
        yield client
    except KeyboardInterrupt:
        # Typer would leave with 130 and say nothing.
        raise Interrupted("interrupted", hint="what has come is stored; run the same command again to go on") from None
    finally:
        client.close()
