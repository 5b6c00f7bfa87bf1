"""Where things are on disk: paths, settings, the atomic writer, strict YAML and front matter, locks."""

from tradeagent.workspace.config import Config, load_config
from tradeagent.workspace.config_text import render_example, render_reference, set_value
from tradeagent.workspace.files import Conflict, read_text, replace_if_unchanged, write_atomic
from tradeagent.workspace.front_matter import read_front_matter
from tradeagent.workspace.locks import file_lock
from tradeagent.workspace.paths import Workspace, find_workspace

__all__ = [
    "Config",
    "Conflict",
    "Workspace",
    "file_lock",
    "find_workspace",
    "load_config",
    "read_front_matter",
    "read_text",
    "render_example",
    "render_reference",
    "replace_if_unchanged",
    "set_value",
    "write_atomic",
]
