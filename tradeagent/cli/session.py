"""What every command shares: the global flags, and the workspace, configuration and ledger they lead to, opened on first use."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tradeagent.cli.output import Output

if TYPE_CHECKING:
    from tradeagent.domain.clock import Clock
    from tradeagent.domain.instrument import Instrument
    from tradeagent.ledger.store import Ledger
    from tradeagent.ledger.wallets import WalletRow
    from tradeagent.market.warehouse import Warehouse
    from tradeagent.runtime.place import Place
    from tradeagent.workspace.config import Config
    from tradeagent.workspace.paths import Workspace
    from tradeagent.workspace.settings import Value


@dataclass(frozen=True, slots=True)
class Globals:
    """Flags that any command takes, before or after its name."""

    workspace: str | None = None
    json: bool = False
    jsonl: bool = False
    quiet: bool = False
    verbose: bool = False
    yes: bool = False
    no_color: bool = False


@dataclass
class Session:
    """One command's view of the world."""

    flags: Globals = field(default_factory=Globals)

    @property
    def output(self) -> Output:
        return Output(json=self.flags.json or self.flags.jsonl, quiet=self.flags.quiet, verbose=self.flags.verbose)

    @cached_property
    def workspace(self) -> "Workspace":
        from tradeagent.workspace.paths import find_workspace

        return find_workspace(self.flags.workspace, os.environ, Path.cwd())

    @cached_property
    def config(self) -> "Config":
        from tradeagent.workspace.config import load_config

        return load_config(self.workspace.config_file, os.environ)

    @cached_property
    def ledger(self) -> "Ledger":
        from tradeagent.ledger.store import open_ledger

        return open_ledger(self.workspace.ledger_file)

    @cached_property
    def clock(self) -> "Clock":
        from tradeagent.domain.clock import SystemClock

        return SystemClock()

    @cached_property
    def warehouse(self) -> "Warehouse":
        from tradeagent.market.warehouse import Warehouse

        return Warehouse(self.workspace.warehouse_dir)

    @cached_property
    def place(self) -> "Place":
        from tradeagent.runtime.place import Place

        return Place(self.workspace, self.config, self.ledger, self.clock)

    def require_lines(self, asked: str) -> None:
        """InvalidInput with --json, which is one document: what goes on and on is --jsonl for programs."""
        from tradeagent.domain.errors import InvalidInput

        if self.flags.json and not self.flags.jsonl:
            raise InvalidInput(f"{asked}: --json is one document, and this prints one a line", hint="use --jsonl instead of --json")

    def writable(self) -> "Place":
        """The place, once it is known that this process may write there."""
        self.workspace.require_writable()
        return self.place

    def instrument(self, venue: str, market: str) -> "Instrument":
        """A market of the built-in table or of config.yml, or NotFound."""
        from tradeagent.market.instruments import instrument

        return instrument(venue, market, self.instruments)

    @property
    def instruments(self) -> "dict[str, dict[str, Value]]":
        """The `instruments` section of config.yml, by market."""
        names = {path[1] for path in self.config.values if path[0] == "instruments"}
        return {name: self.config.section("instruments", name) for name in sorted(names)}

    def wallet(self, name: str) -> "WalletRow":
        """A wallet by name, or NotFound."""
        from tradeagent.ledger import wallets

        with self.ledger.reading() as tx:
            return wallets.get(tx, name)

    def narrowed(self, wallet: str | None, deployment: str | None) -> dict[str, str | None]:
        """The wallet and the run that a listing is asked for, an agent standing for its newest run; NotFound for a name nothing has."""
        from tradeagent.ledger import runs, wallets

        with self.ledger.reading() as tx:
            return {
                "wallet": wallet and wallets.get(tx, wallet).name,
                "deployment": deployment and runs.get_deployment(tx, deployment).id,
            }


_current = Session()


def set_globals(flags: Globals) -> None:
    """Start the session of one command line."""
    global _current  # noqa: PLW0603  # one command line is one process
    _current = Session(flags)


def session() -> Session:
    return _current
