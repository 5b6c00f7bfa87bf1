"""The pages of docs run: every console block is typed into a fresh workspace, every command and link they name exists.

The convention, for whoever writes a page:

- A fence marked `console` is typed line by line, in one folder a page, which holds `BTC_5m.csv` as getting-started makes it. A line
  `$ command` is run; `# exit 3` behind it says which exit code it must have (0 without it). The lines under it are what it
  prints: each must come in that order, `…` stands for anything, and lines may be left out.
- `…` inside a word of a command stands for what the machine chose: the shortest such word that was printed
  before is typed.
- `&` at the end runs it beside the rest; `$ kill -9 %1` kills it. `$ cd FOLDER` stays for the page.
- `<!-- $ command -->` outside a fence is run and not shown: what the page takes for granted.
- A fence whose first line names a file, like `python make_bars.py`, is written to that file.
- Fences marked `sh` are read, not run: their `tradeagent` commands and options must exist. So must those in `running text`.
"""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tradeagent.agents.definition import AgentDefinition
from tradeagent.cli import entry, reference
from tradeagent.cli.app import tree
from tradeagent.cli.session import session
from tradeagent.tools.registry import TOOLS

REPO = Path(__file__).resolve().parents[1]
PAGES = [Path("README.md"), *sorted(path.relative_to(REPO) for path in (REPO / "docs").glob("*.md"))]
LINKED = [*PAGES, Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), *sorted(path.relative_to(REPO) for path in (REPO / "docs").glob("*/*.md"))]
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"\s+# exit (\d+)$")
HIDDEN = re.compile(r"<!-- \$ (.+) -->")
SHELL = re.compile(r"[|<>;&$`*]")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
GLOBAL = {"--workspace", "-w", "--json", "--jsonl", "--quiet", "-q", "--verbose", "--yes", "-y", "--no-color", "--version", "--help"}
READS = ("tradeagent status", "tradeagent approval list", "tradeagent journal")
WITHIN_S = 60


@dataclass
class Command:
    """One typed line, and what the page says of it."""

    line: int
    text: str
    code: int
    shown: list[str] = field(default_factory=list)


@dataclass
class Terminal:
    """A folder, and the runs that are beside the rest."""

    folder: Path
    beside: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    printed: str = ""

    def type(self, text: str) -> tuple[int, str]:
        """Exit code and everything printed."""
        code, printed = self._run(" ".join(map(self._copied, text.split(" "))))
        self.printed = f"{self.printed}\n{printed}"
        return code, printed

    def _copied(self, word: str) -> str:
        if "…" not in word:
            return word
        pattern = re.compile(".+".join(map(re.escape, word.split("…"))))
        return min((printed for printed in self.printed.split() if pattern.fullmatch(printed)), key=len)

    def _run(self, text: str) -> tuple[int, str]:
        if text.startswith("cd "):
            self.folder = (self.folder / text[3:]).resolve(strict=True)
            os.chdir(self.folder)
            return 0, ""
        if text == "kill -9 %1":
            self.beside[-1].kill()
            self.beside[-1].wait(10)
            return 0, ""
        if text.endswith(" &"):
            return self._beside(text[:-2])
        if text.startswith("tradeagent ") and not SHELL.search(text):
            return here(shlex.split(text)[1:])
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    def _beside(self, text: str) -> tuple[int, str]:
        """Start it, and come back when the workspace shows it."""
        command = [sys.executable, "-m", "tradeagent", *shlex.split(text)[1:]]
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        before, deadline = running(), time.monotonic() + WITHIN_S
        self.beside.append(subprocess.Popen(command, **quiet))
        while not running() - before:
            assert time.monotonic() < deadline, f"it did not start: {text}"
            time.sleep(0.1)
        return 0, ""

    def close(self) -> None:
        for process in self.beside:
            process.send_signal(signal.SIGINT)
            process.wait(10)


def here(arguments: list[str]) -> tuple[int, str]:
    """A command line in this process, which saves starting Python each time."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = entry.run(arguments)
    if "ledger" in vars(session()):
        session().ledger.close()
    return code, said.getvalue()


def running() -> set[str]:
    """Deployments of the workspace that run."""
    rows = json.loads(here(["status", "--json"])[1])["deployments"]
    return {row["id"] for row in rows if row["state"] == "running"}


def commands(text: str) -> Iterator[Command]:
    """What a page types, in its order, each with the lines under it."""
    command = Command(0, "", 0)
    is_console = False
    for number, line in enumerate(text.splitlines(), start=1):
        hidden = HIDDEN.fullmatch(line)
        if line.startswith("```"):
            is_console = line == "```console"
        elif hidden or (is_console and line.startswith("$ ")):
            if command.text:
                yield command
            typed = hidden[1] if hidden else line[2:]
            code = EXIT.search(typed)
            command = Command(number, EXIT.sub("", typed), int(code[1]) if code else 0)
        elif is_console and line.strip() not in ("", "…"):
            command.shown.append(line)
    if command.text:
        yield command


def files(text: str) -> dict[str, str]:
    """Files that a page gives in full."""
    return {fence[2]: fence[3] for fence in FENCE.finditer(text) if fence[2]}


def missing(shown: list[str], printed: str) -> str | None:
    """The first shown line that was not printed, each looked for after the one before; blanks count as one."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in shown:
        pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("…"))
        if not any(re.fullmatch(pattern, printed_line) for printed_line in lines):
            return line
    return None


@pytest.fixture(scope="module")
def bars() -> str:
    """`BTC_5m.csv` as the page makes it."""
    script = files((REPO / "docs/getting-started.md").read_text())["make_bars.py"]
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars: str) -> Iterator[Terminal]:
    """A newcomer's shell: an empty home, no keys, no settings, and the bars."""
    for name in [name for name in os.environ if name.startswith("TRADEAGENT_") or name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "BTC_5m.csv").write_text(bars)
    monkeypatch.chdir(folder)
    opened = Terminal(folder)
    yield opened
    opened.close()


@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in (REPO / page).read_text()], ids=str)
def test_what_a_page_types_does_what_it_shows(page: Path, terminal: Terminal) -> None:
    typed(terminal, page, (REPO / page).read_text())


@pytest.mark.real_data
def test_the_page_of_optimising_holds_on_real_bars(terminal: Terminal, shared_data: Path) -> None:
    """From the search over the rolling validation to the report, on the five-minute bars that Hyperliquid had."""
    real = f"SELECT ts AS time, open, high, low, close, volume FROM '{shared_data}/hyperliquid_BTC_5m.parquet' ORDER BY ts"
    duckdb.sql(real).write_csv(str(terminal.folder / "BTC_5m.csv"))
    text, made_up = (REPO / "docs/optimising.md").read_text(), "2025-03-01 to 2025-03-11, 3,000 bars"
    assert made_up in text
    typed(terminal, Path("docs/optimising.md"), text.replace(made_up, "2025-03-14 to 2025-07-26, 38,531 bars"))
    report = (terminal.folder / "best.html").read_text()
    assert "38,531" in report and "2025-07-26" in report


def typed(terminal: Terminal, page: Path, text: str) -> None:
    """Type what the text of a page says; each command prints what it shows, and ends as it says."""
    for name, content in files(text).items():
        (terminal.folder / name).write_text(content)
    for command in commands(text):
        code, printed = terminal.type(command.text)
        deadline = time.monotonic() + WITHIN_S
        while terminal.beside and command.text.startswith(READS) and missing(command.shown, printed) and time.monotonic() < deadline:
            time.sleep(0.2)  # a person looks again when a run beside it has not come that far
            code, printed = terminal.type(command.text)
        where = f"{page}:{command.line}: $ {command.text}\n{printed}"
        assert code == command.code, f"{where}\nexit {code}, the page says {command.code}"
        lost = missing(command.shown, printed)
        assert lost is None, f"{where}\nthe page shows a line that is not there: {lost}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_a_page_names_exists_with_its_options(page: Path) -> None:
    text = (REPO / page).read_text()
    blocks = [line for fence in FENCE.finditer(text) if fence[1] == "sh" for line in fence[3].replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`(tradeagent [^`]+)`", FENCE.sub("", text))
    typed = [line.partition("tradeagent ")[2] for line in [*blocks, *spans] if re.search(r"(^|[/ ])tradeagent ", line)]
    wrong = [line for line in typed if not is_known(line)]
    assert not wrong, f"{page} names commands or options that do not exist: {wrong}"


def is_known(line: str) -> bool:
    """Whether a command line names a command of the tree, and only options it has."""
    command: Any = tree()
    words = iter(re.split(r"[|>&;)]|\s#", line)[0].replace("…", " ").split())
    for word in words:
        if word in GLOBAL:
            if word in ("--workspace", "-w"):
                next(words, None)
        elif word.startswith("-"):
            if not any(word in (*option.opts, *option.secondary_opts) for option in command.params):
                return False
        elif found := getattr(command, "commands", {}).get(word):
            command = found
        elif getattr(command, "commands", {}):
            return False
    return True


@pytest.mark.parametrize("page", LINKED, ids=str)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    text = FENCE.sub("", (REPO / page).read_text())
    inner = [link.partition("#") for link in LINK.findall(text) if not re.match(r"https?:", link)]
    dead = [path + mark + anchor for path, mark, anchor in inner if not leads(REPO / page, path, anchor)]
    assert not dead, f"{page} links to what is not there: {dead}"


def leads(page: Path, path: str, anchor: str) -> bool:
    """Whether there is such a file, and such a heading in it (spelled as GitHub does)."""
    target = page.parent / path if path else page
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", target.read_text()), re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_lists_every_page() -> None:
    listed = {link.partition("#")[0] for link in LINK.findall((REPO / "docs/index.md").read_text())}
    assert {path.name for path in (REPO / "docs").glob("*.md")} - {"index.md"} <= listed


def test_every_key_of_agent_md_and_every_tool_has_its_row() -> None:
    keys, tools = reference.front_matter_table(), reference.tools_table()
    assert [line.split("`")[1] for line in keys.splitlines()[2:]] == list(reference.FRONT_MATTER)
    assert {key for key in reference.FRONT_MATTER if "." not in key} == set(AgentDefinition.model_fields)
    assert [line.split("`")[1] for line in tools.splitlines()[2:]] == list(TOOLS)
    assert "| `tick_timeout` | text | `10m` |" in keys
    assert "| `context.bars.lookback` | whole number, 1 to 1,000 | `96` |" in keys
    assert "| `propose_order` | `trading` |" in tools and "| market side [size] [quote] " in tools


def test_every_page_with_a_generated_part_is_there() -> None:
    assert all((REPO / name).exists() for name, _ in reference.PARTS)


def test_a_page_that_lies_is_caught(terminal: Terminal) -> None:
    told = list(commands("```console\n$ tradeagent version  # exit 3\ntradeagent … (Python …)\ntradeagent 9\n```\n"))
    code, printed = terminal.type(told[0].text)
    assert (told[0].code, code) == (3, 0)
    assert missing(told[0].shown[:1], printed) is None
    assert missing(told[0].shown, printed) == "tradeagent 9"
    assert is_known("run btc_momentum --mode dry-run --json") and not is_known("runn x") and not is_known("status --wat")
