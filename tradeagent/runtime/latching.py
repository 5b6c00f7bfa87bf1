"""The first half of a kill: who is meant, and the latch. It loads next to nothing, so that it is done before a second is over."""

import re
from dataclasses import dataclass

from tradeagent.domain.clock import Clock
from tradeagent.domain.errors import Defect, NotFound, TradeAgentError
from tradeagent.ledger.glance import glance
from tradeagent.workspace import latch
from tradeagent.workspace.paths import Workspace

_NUMBERED = re.compile(r"(.+?)_[ae]?\d+")


@dataclass(frozen=True, slots=True)
class Target:
    """What is meant: one wallet and the run on it, or with neither everything."""

    wallet: str | None = None
    deployment: str | None = None


def target_of(workspace: Workspace, name: str) -> Target:
    """The wallet of a deployment, of an agent, or of that name; asked of the ledger, which may be unreadable, then of the files."""
    try:
        runs_seen = glance(workspace.ledger_file).runs
    except TradeAgentError:
        runs_seen = ()
    for row in runs_seen:
        if name in (row.id, row.slug):
            return Target(row.wallet, row.id)
    guesses = [name, *(match[1] for match in (_NUMBERED.fullmatch(name),) if match)]
    for guess in guesses:
        if guess in paper_wallets(workspace):
            return Target(guess, None)
    hint = "`tradeagent status` lists them; `tradeagent kill --all` needs no name"
    raise NotFound(f"no deployment, agent or wallet named {name!r}", hint=hint)


def paper_wallets(workspace: Workspace) -> list[str]:
    """Every paper account of the workspace, by its file."""
    return sorted(file.stem for file in (workspace.state_dir / "paper").glob("*.sqlite"))


@dataclass(frozen=True, slots=True)
class Latching:
    """How long it took until no new order could leave, in ms, and the processes that were ended because they were sending one."""

    took_ms: int
    ended: tuple[int, ...]


def latch_now(workspace: Workspace, clock: Clock, target: Target) -> Latching:
    """Set the latch and wait for whoever is sending. Raises Defect (exit 1) when that cannot be done."""
    begin, folder = clock.monotonic(), workspace.kill_dir
    try:
        latch.set_latch(folder, target.wallet)
        ended = latch.drain(folder, target.wallet)
    except (OSError, TimeoutError) as error:
        hint = f"end the process by hand and repeat; the latch is a file in {folder}"
        raise Defect(f"kill: {error}", hint=hint) from error
    return Latching(round((clock.monotonic() - begin) * 1000), tuple(ended))
