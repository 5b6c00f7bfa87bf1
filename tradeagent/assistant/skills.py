"""Skills: pages of instructions that a person keeps in `skills/<name>.md`, and the stack of those that are active in a conversation.

A skill is the user's own word and enters the system prompt; no tool writes one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tradeagent.domain.errors import InvalidConfig, InvalidInput, NotFound, TradeAgentError
from tradeagent.llm.contract import CHARACTERS_PER_TOKEN
from tradeagent.workspace.front_matter import read_front_matter
from tradeagent.workspace.names import check_wallet
from tradeagent.workspace.paths import Workspace
from tradeagent.workspace.tree import Tree

FOLDER = "skills"
MAX_ON_STACK = 5
MAX_CHARACTERS = 20_000
MAX_DESCRIPTION = 200
_KEYS = ("name", "description")


@dataclass(frozen=True, slots=True)
class Skill:
    """One page: `body` is what the model reads."""

    name: str
    description: str
    body: str

    @property
    def tokens(self) -> int:
        """What it costs in every prompt, counted as characters / 4."""
        return -(-len(self.body) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Broken:
    """A file in the folder that is no skill, and why."""

    name: str
    error: TradeAgentError


class Skills:
    """The skills of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._tree = Tree(workspace.root, FOLDER, workspace.locks_dir / "skills.lock", suffix=".md")

    def all(self) -> tuple[list[Skill], list[Broken]]:
        """Every skill by name, and the files that are none."""
        return self._loaded(self.names())

    def active(self, stack: Sequence[str]) -> tuple[list[Skill], list[Broken]]:
        """The skills of a stack, its top first, and those that cannot be used since they were pushed."""
        return self._loaded(reversed(stack))

    def _loaded(self, names: Iterable[str]) -> tuple[list[Skill], list[Broken]]:
        found, broken = [], []
        for name in names:
            try:
                found.append(self.load(name))
            except TradeAgentError as error:
                broken.append(Broken(name, error))
        return found, broken

    def names(self) -> list[str]:
        """Names of the files, by name, whatever is in them."""
        return [entry.path.removesuffix(".md") for entry in self._tree.listing().entries if "/" not in entry.path]

    def load(self, name: str) -> Skill:
        """One skill. Raises NotFound, or InvalidConfig that names file, line and fix."""
        check_wallet(name, "skill")
        try:
            text = self._tree.read(f"{name}.md").text
        except NotFound:
            known = ", ".join(self.names())
            hint = f"known: {known}" if known else f"write {FOLDER}/{name}.md, or `tradeagent init` for the examples"
            raise NotFound(f"there is no skill {name!r}", hint=hint, details={"skill": name}) from None
        return parse_skill(text, self._tree.root / f"{name}.md")


def parse_skill(text: str, file: Path) -> Skill:
    """A skill from its text. Raises InvalidConfig with file, line and fix."""
    front = read_front_matter(text, file)
    values = front.head.values
    unknown = next((key for key in values if key not in _KEYS), None)
    if unknown is not None:
        raise _wrong(file, front.head.lines.get((unknown,), 1), f"unknown key {unknown!r}", "keep name and description only")
    for key in _KEYS:
        value = values.get(key)
        line = front.head.lines.get((key,), 1)
        if not isinstance(value, str) or not value.strip() or "\n" in value.strip():
            raise _wrong(file, line, f"{key} must be one line of text", f"write {key}: …")
    if values["name"] != file.stem:
        raise _wrong(
            file, front.head.lines[("name",)], f"name is {values['name']!r}, the file's is {file.stem!r}", f"write name: {file.stem}"
        )
    if len(values["description"]) > MAX_DESCRIPTION:
        problem = f"description has {len(values['description'])} characters, at most {MAX_DESCRIPTION} are shown"
        raise _wrong(file, front.head.lines[("description",)], problem, "say in one sentence when to use it")
    body = front.body.strip()
    last = text.count("\n") + 1
    if not body:
        raise _wrong(file, last, "there is nothing below the front matter", "write what to do, in plain words")
    if len(body) > MAX_CHARACTERS:
        raise _wrong(file, last, f"{len(body):,} characters, a skill has at most {MAX_CHARACTERS:,}", "shorten it, or make two of it")
    return Skill(values["name"], values["description"].strip(), body)


def pushed(stack: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The stack with a skill on top; one that is on it already moves there. Raises InvalidInput when it is full."""
    rest = tuple(other for other in stack if other != name)
    if len(rest) >= MAX_ON_STACK:
        raise InvalidInput(
            f"skill: {MAX_ON_STACK} skills are active, the most at once", hint="pop one first", details={"stack": list(stack)}
        )
    return (*rest, name)


def popped(stack: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The stack without its top, and the name that was there. Raises InvalidInput when it is empty."""
    if not stack:
        raise InvalidInput("skill: no skill is active", hint="push one first; `tradeagent skills list` names them")
    return stack[:-1], stack[-1]


def shipped() -> list[Traversable]:
    """The skills that come with the product, as files by name."""
    return sorted(
        (file for file in (files("tradeagent.assistant") / "library").iterdir() if file.name.endswith(".md")), key=lambda file: file.name
    )


def _wrong(file: Path, line: int, problem: str, hint: str) -> InvalidConfig:
    return InvalidConfig(f"{file}:{line}: {problem}", hint=hint, details={"file": str(file), "line": line})
