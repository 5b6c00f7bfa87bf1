"""The agent's working picture in one session: four short texts, rewritten by the agent and editable by a person at any time."""

from pathlib import Path

from tradeagent.agents.slots import Form, SlotFile

CANVAS = Form("canvas.md", "Canvas", ("thesis", "working", "changed", "questions"), 1_200)


def canvas_file(folder: Path, agent_id: str, *, durable: bool) -> SlotFile:
    """`canvas.md` of one session."""
    return SlotFile(folder, CANVAS, agent_id, durable=durable)
