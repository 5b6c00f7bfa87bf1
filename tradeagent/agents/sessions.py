"""Runs of an agent on disk: numbered session folders, their frozen config and status, and numbered experiments."""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tradeagent.agents.head_text import head_lines
from tradeagent.agents.snapshots import SnapshotRecord, render_snapshot
from tradeagent.domain.errors import InvalidConfig
from tradeagent.workspace.files import disk_error, read_text, sync_directory, write_atomic, write_new

SESSIONS = "sessions"
EXPERIMENTS = "dry_runs"
CONFIG = "config.yml"
STATUS = "status.json"
PENDING = "running; the record is written when the run ends\n"


@dataclass(frozen=True, slots=True)
class Session:
    """One run in loop mode: its number and folder."""

    slug: str
    number: int
    folder: Path

    @property
    def agent_id(self) -> str:
        """Identity of the run, and controller id of all it makes."""
        return f"{self.slug}_{self.number}"


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A copy for people; the ledger decides. Times are ISO-8601 UTC."""

    state: str
    deployment_id: str
    boot_id: str
    pid: int
    started_at: str | None
    ended_at: str | None
    ticks: int


def create_session(agent_folder: Path, config: Mapping[str, Any], *, durable: bool, after: int = 0) -> Session:
    """Make `sessions/session_N` with the next free number and its frozen config.yml; two callers never get the same N.

    N is above `after`, the highest that the ledger knows: a number is given once, whatever became of its folder.
    Raises the disk errors of `workspace.files`.
    """
    sessions = agent_folder / SESSIONS
    taken = [session.number for session in list_sessions(agent_folder)]
    for number in itertools.count(max([after, *taken]) + 1):
        folder = sessions / f"session_{number}"
        try:
            sessions.mkdir(exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise disk_error(folder, error) from error
        sync_directory(sessions, durable=durable)
        write_atomic(
            folder / CONFIG, "# Frozen when the session began; changes here have no effect.\n" + head_lines(config), durable=durable
        )
        return Session(agent_folder.name, number, folder)
    raise AssertionError("unreachable")


def list_sessions(agent_folder: Path) -> list[Session]:
    """Sessions in numeric order: session_10 after session_9."""
    return [Session(agent_folder.name, number, path) for number, path in _numbered(agent_folder / SESSIONS, r"session_(\d+)")]


def write_status(session: Session, status: SessionStatus, *, durable: bool) -> None:
    """Replace `status.json`."""
    write_atomic(session.folder / STATUS, json.dumps(asdict(status), indent=2) + "\n", durable=durable)


def read_status(session: Session) -> SessionStatus | None:
    """What `status.json` says; None when there is none. Raises InvalidConfig when it is not readable as one."""
    path = session.folder / STATUS
    try:
        return SessionStatus(**json.loads(read_text(path)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InvalidConfig(
            f"{path}: not a status: {error}", hint="delete it; the ledger has the truth", details={"file": str(path)}
        ) from error


def reserve_experiment(agent_folder: Path, *, durable: bool, after: int = 0) -> int:
    """The next number N for dry_run and run_once together, held by a placeholder file until `write_experiment`.

    N is above `after`, as in `create_session`.
    """
    folder = agent_folder / EXPERIMENTS
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    taken = [number for number, _ in list_experiments(agent_folder)]
    for number in itertools.count(max([after, *taken]) + 1):
        if write_new(
            folder / f"experiment_{number}.md",
            f"# Experiment {number} - {experiment_id(agent_folder.name, number)}\n\n{PENDING}",
            durable=durable,
        ):
            return number
    raise AssertionError("unreachable")


def experiment_id(slug: str, number: int) -> str:
    """Identity of an experiment's run."""
    return f"{slug}_e{number}"


def write_experiment(agent_folder: Path, record: SnapshotRecord, *, durable: bool) -> Path:
    """Write `dry_runs/experiment_N.md` over its placeholder."""
    path = agent_folder / EXPERIMENTS / record.file_name
    write_atomic(path, render_snapshot(record), durable=durable)
    return path


def list_experiments(agent_folder: Path) -> list[tuple[int, Path]]:
    """`(N, path)` in numeric order, reserved ones included."""
    return _numbered(agent_folder / EXPERIMENTS, r"experiment_(\d+)\.md")


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    found = ((re.fullmatch(pattern, path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)
