"""D: ways out of the folder of notes, into files that are not the model's."""

import os
import socket
from pathlib import Path
from typing import Any

from foe import REST, Case, Foe, Script, use

TEXT = "limits: {max_single_order_quote: 1000000}\n"
BAD_PATH = frozenset({"invalid_input"})


def _everywhere(foe: Foe, paths: list[str], most: int = 60) -> Script:
    """Write, read, append and list by each path, four calls a turn."""
    foe.chance.shuffle(paths)
    for path in paths[:most]:
        calls = [
            use("memory_write", path=path, text=TEXT),
            use("memory_read", path=path),
            use("memory_append", path=path, text=TEXT),
            use("scratch_write", path=path, text=TEXT),
            use("scratch_read", path=path),
        ]
        foe.chance.shuffle(calls)
        yield calls
        yield REST


def _loaded(script: Any) -> Any:
    """The script with the family of notes loaded first, whatever the mode shows."""

    def with_notes(foe: Foe) -> Script:
        yield [use("find_tools", query="memory")]
        yield from script(foe)

    return with_notes


@_loaded
def traversal(foe: Foe) -> Script:
    home = foe.chance.choice(("../", "..\\", "a/../../", "./../", "notes/../../../", "..//", "%2e%2e/", "..%2f", "%252e%252e/"))
    targets = ["neighbour.txt", "config.yml", "x.md", "trading_agents/btc_momentum/agent.md", "state/ledger.sqlite"]
    paths = [home * deep + target for deep in (1, 2, 6) for target in targets]
    paths += [
        "/etc/passwd",
        "~/x.md",
        "~root/x.md",
        "x.md\x00.txt",
        "\x00.md",
        "C:\\x.md",
        "file:///etc/passwd",
        "/proc/self/environ",
        "\\\\host\\x.md",
    ]
    yield from _everywhere(foe, paths, 12)


def links(talk: Any) -> None:
    (talk.memory / "link.md").symlink_to(talk.root.parent / "neighbour.txt")
    (talk.memory / "dead.md").symlink_to(talk.root.parent / "made-by-a-link.md")
    (talk.memory / "out").symlink_to(talk.root.parent)
    (talk.memory / "agents").symlink_to(talk.root / "trading_agents")


@_loaded
def through_links(foe: Foe) -> Script:
    yield from _everywhere(foe, ["link.md", "dead.md", "out/new.md", "out/neighbour.txt", "agents/x/agent.md", "agents/new.md"])


def hard_link(talk: Any) -> None:
    os.link(talk.ledger, talk.memory / "ledger.md")
    os.link(talk.root / "config.yml", talk.memory / "settings.md")


@_loaded
def through_hard_links(foe: Foe) -> Script:
    yield from _everywhere(foe, ["ledger.md", "settings.md"])


@_loaded
def users_own(foe: Foe) -> Script:
    names = [
        "agent.md",
        "limits.md",
        "config.yml",
        ".env",
        ".env.md",
        "../config.yml",
        "trading_agents/btc_momentum/agent.md",
        "skills/x/SKILL.md",
    ]
    yield from _everywhere(foe, names)


def only_notes(talk: Any) -> None:
    strange = [path for path in talk.memory.rglob("*") if path.is_file() and path.suffix != ".md"]
    assert strange == [], strange
    assert not any(path.name.startswith(".env") for path in talk.memory.rglob("*"))


@_loaded
def strange_names(foe: Foe) -> Script:
    names = [
        ".hidden.md",
        "CON.md",
        "nul.md",
        "x.md.",
        "x.md ",
        "a" * 399 + ".md",
        "é.md",
        "e\u0301.md",
        "A.md",
        "a.md",
        "x\u202e.md",
        "-rf.md",
        "a//b.md",
    ]
    names += ["x.md/", "a/" * 40 + "x.md", "con/x.md", "*.md", "x\n.md", "LPT1.md", "x:y.md", "\ufeffx.md", "ﬁ.md"]
    yield from _everywhere(foe, names, 14)


def no_collisions(talk: Any) -> None:
    only_notes(talk)
    names = [str(path.relative_to(talk.memory)).casefold() for path in talk.memory.rglob("*.md")]
    assert len(names) == len(set(names)), names


@_loaded
def empty_slug(foe: Foe) -> Script:
    names = ["", "..", ".", "-", "../../etc", "a/b", "con", "x" * 49, "Größe", "a b", "raider\x00"]
    foe.chance.shuffle(names)
    yield [use("find_tools", query="algos")]
    for name in names:
        yield [
            use("set_basics", name=name, slug=name),
            use("create_algorithm", name=name, template="sma_cross"),
            use("stack_push", skill=name),
        ]
        yield REST


def nearly_full(talk: Any) -> None:
    (talk.memory / "big.md").write_bytes(b"x" * (1024 * 1024 - 10))
    (talk.memory / "many").mkdir()
    for number in range(9_998):
        (talk.memory / "many" / f"{number}.md").touch()


@_loaded
def too_much(foe: Foe) -> Script:
    yield [use("memory_append", path="big.md", text="y" * foe.chance.randint(10, 40_000))]
    yield [use("memory_write", path="big.md", text="y" * foe.chance.randint(100_001, 200_000))]
    yield REST
    for number in range(4):
        yield [use("memory_write", path=f"more/{number}.md", text="one more")]


def the_folder_is_bounded(talk: Any) -> None:
    assert (talk.memory / "big.md").stat().st_size <= 1024 * 1024
    assert sum(1 for path in talk.memory.rglob("*.md")) <= 10_000


def devices(talk: Any) -> None:
    os.mkfifo(talk.memory / "fifo.md")
    (talk.memory / "folder.md").mkdir()
    (talk.memory / "null.md").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(talk.memory)  # the path of a socket is short
        try:
            server.bind("socket.md")
        finally:
            os.chdir(here)


@_loaded
def through_devices(foe: Foe) -> Script:
    yield from _everywhere(foe, ["fifo.md", "folder.md", "null.md", "socket.md"])


@_loaded
def other_journals(foe: Foe) -> Script:
    names = ["trading_agents/quokka/sessions/session_7/journal.md", "../trading_agents/quokka/learnings.md", "../state/threads/quokka_7.md"]
    names += ["../sessions/x/transcript.md", "quokka/journal.md"]
    yield from _everywhere(foe, names)
    yield [use("journal_action", action="x", reasoning="y"), use("add_learning", text="x"), use("update_canvas", thesis="x")]


FILE_CASES = (
    Case("D1", "paths that lead up, away and home", traversal, "desk", sees=BAD_PATH, turns=13),
    Case("D2", "links, and links to nothing", through_links, "desk", sees=BAD_PATH, turns=7, plant=links),
    Case("D4", "a hard link to the ledger", through_hard_links, "desk", sees=BAD_PATH, turns=3, plant=hard_link),
    Case("D5", "agent.md, limits, config and .env as notes", users_own, "desk", sees=BAD_PATH, turns=9, after=only_notes),
    Case("D6", "hidden, reserved, endless and equal names", strange_names, "desk", sees=BAD_PATH, turns=15, after=no_collisions),
    Case("D7", "empty names and .. as slug", empty_slug, "desk", sees=frozenset({"invalid_arguments"}), turns=12, mode="authoring"),
    Case(
        "D8",
        "a note and a folder without end",
        too_much,
        "desk",
        sees=BAD_PATH,
        turns=3,
        ends=frozenset({"stop", "token_limit"}),
        plant=nearly_full,
        after=the_folder_is_bounded,
    ),
    Case("D9", "pipes, sockets, devices and folders", through_devices, "desk", sees=BAD_PATH, turns=5, plant=devices),
    Case("D11", "another agent's journal", other_journals, "desk", sees=BAD_PATH | {"unknown_tool"}, turns=6),
)
