"""What an agent makes of its closed trades: five short notes, shared by all its sessions and editable by a person at any time."""

from pathlib import Path

from tradeagent.agents.slots import Form, SlotFile

# 2,000 characters together.
REFLECTION = Form("reflection.md", "Reflection", ("entry_timing", "sizing", "market_selection", "exit_timing", "regime_fit"), 400)


def reflection_file(folder: Path, *, durable: bool) -> SlotFile:
    """`reflection.md` of one agent."""
    return SlotFile(folder, REFLECTION, folder.name, durable=durable)
