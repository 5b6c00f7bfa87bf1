"""The user's pinned notes to an agent: `pinned.md` in its folder, in every prompt of it. No tool writes it."""

from pathlib import Path

from tradeagent.agents.rewrite import EditedFile
from tradeagent.agents.text import one_line
from tradeagent.domain.errors import InvalidInput

NAME = "pinned.md"
# What a prompt has room for.
MOST = 1_500


class Pinned:
    """`pinned.md` of one agent."""

    def __init__(self, folder: Path) -> None:
        self._file = EditedFile(folder / NAME, durable=True)

    @property
    def path(self) -> Path:
        return self._file.path

    def read(self) -> str:
        """The whole file; empty when there is none."""
        return self._file.read().strip()

    def add(self, text: str) -> Path:
        """Put one line under the notes; where it was written, which is beside the file when an editor never let go of it.

        Raises InvalidInput for an empty text or one that the prompt has no room for, and the disk errors of `workspace.files`.
        """
        said = one_line(text, MOST + 1)
        if not said:
            raise InvalidInput("text: a pinned note needs words", hint="say what the agent must keep in mind", details={"field": "text"})

        def edit(before: str) -> str:
            after = f"{before.rstrip()}\n- {said}\n".lstrip("\n")
            if len(after) > MOST:
                command = f"tradeagent agent edit {self.path.parent.name} --pinned"
                hint = f"`{command}` and take {len(after) - MOST} characters out"
                raise InvalidInput(f"text: the pinned notes would have {len(after)} characters, a prompt shows {MOST}", hint=hint)
            return after

        conflict = self._file.rewrite(edit)
        return self.path if conflict is None else conflict.kept
