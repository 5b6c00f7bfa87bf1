"""Text that is safe to show: on a terminal, in a prompt, in a file that people read."""

import re

# control characters but newline and tab, soft hyphen, zero-width, bidirectional controls, line separators, tags, byte order mark
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")


def visible(text: str) -> str:
    """The text without control, zero-width and direction-changing characters; carriage returns become newlines."""
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
