"""Where everything of one workspace is on disk, and which workspace a command means."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tradeagent.domain.errors import NotFound
from tradeagent.workspace.files import disk_error
from tradeagent.workspace.names import check_slug, check_wallet

CONFIG_NAME = "config.yml"
VARIABLE = "TRADEAGENT_WORKSPACE"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with `config.yml`. The properties only name places; whoever writes makes the folder."""

    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / CONFIG_NAME

    @property
    def agents_dir(self) -> Path:
        return self.root / "trading_agents"

    @property
    def sessions_dir(self) -> Path:
        """Conversations with the assistant; sessions of an agent are in its own folder."""
        return self.root / "sessions"

    @property
    def routines_dir(self) -> Path:
        return self.root / "routines"

    @property
    def skills_dir(self) -> Path:
        return self.root / "skills"

    @property
    def state_dir(self) -> Path:
        return self.root / "state"

    @property
    def ledger_file(self) -> Path:
        return self.state_dir / "ledger.sqlite"

    @property
    def warehouse_dir(self) -> Path:
        return self.root / "data"

    @property
    def threads_dir(self) -> Path:
        return self.state_dir / "threads"

    @property
    def model_cache_file(self) -> Path:
        return self.state_dir / "model_cache.sqlite"

    @property
    def locks_dir(self) -> Path:
        return self.state_dir / "locks"

    @property
    def kill_dir(self) -> Path:
        """The kill latches and the locks of those who send orders."""
        return self.state_dir / "kill"

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / "logs"

    def agent_dir(self, slug: str) -> Path:
        """Folder of one agent. Raises InvalidInput when `slug` is none."""
        return self.agents_dir / check_slug(slug, "agent")

    def paper_file(self, wallet: str) -> Path:
        """Venue state of one paper wallet. Raises InvalidInput when `wallet` is no wallet name."""
        return self.state_dir / "paper" / f"{check_wallet(wallet)}.sqlite"

    def require_writable(self) -> None:
        """Make the state folder and prove that a file can be written there. Raises DataError, or UserError with code disk_full."""
        probe = self.state_dir / f".writable-{os.getpid()}"
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise disk_error(self.state_dir, error) from error


def find_workspace(flag: str | Path | None, env: Mapping[str, str], cwd: Path) -> Workspace:
    """The workspace meant by `--workspace`, else TRADEAGENT_WORKSPACE, else the nearest `config.yml` upward, else the user's own.

    Raises NotFound naming the folder and who named it; the hint is the `tradeagent init` to type.
    """
    if flag is not None:
        return _existing(cwd / Path(flag).expanduser(), "--workspace")
    if named := env.get(VARIABLE):
        return _existing(cwd / Path(named).expanduser(), VARIABLE)
    for folder in (cwd, *cwd.parents):
        if (folder / CONFIG_NAME).is_file():
            return Workspace(folder)
    fallback = user_data_dir(env)
    if not (fallback / CONFIG_NAME).is_file():
        raise NotFound(
            f"no workspace: no {CONFIG_NAME} in {cwd} or above it, and none in {fallback}",
            hint="tradeagent init",
            details={"searched": [str(cwd), str(fallback)]},
        )
    return Workspace(fallback)


def user_data_dir(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The platform's user data directory for this product (XDG base directory specification; Apple file system guide)."""
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    if platform == "darwin":
        return home / "Library" / "Application Support" / "tradeagent"
    xdg = env.get("XDG_DATA_HOME", "")
    # The specification says: a relative path here is invalid and is to be ignored.
    return (Path(xdg) if Path(xdg).is_absolute() else home / ".local" / "share") / "tradeagent"


def _existing(folder: Path, source: str) -> Workspace:
    if (folder / CONFIG_NAME).is_file():
        return Workspace(folder)
    problem = f"has no {CONFIG_NAME}" if folder.is_dir() else "does not exist"
    details = {"path": str(folder), "source": source}
    raise NotFound(f"workspace {folder} ({source}) {problem}", hint=f"tradeagent init {folder}", details=details)
