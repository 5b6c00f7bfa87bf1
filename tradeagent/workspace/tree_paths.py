"""What a path inside a tree of notes may be called: names of letters, digits, blanks, `_`, `.` and `-`, that mean one file everywhere."""

import re
import unicodedata
from pathlib import PurePosixPath

from tradeagent.domain.errors import InvalidInput

MAX_DEPTH = 8
MAX_NAME_BYTES = 120
_NAME = re.compile(r"[\w .-]+")
# Names that are devices on Windows, with or without an ending.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.ASCII)


def parts_of(path: str, field: str) -> tuple[str, ...]:
    """The names a relative path is made of, in Unicode form C; no names for the empty path.

    Raises InvalidInput that names the path and the rule it breaks; `field` is what the caller calls it.
    """
    if not path:
        return ()
    parts = tuple(unicodedata.normalize("NFC", path).split("/"))
    if len(parts) > MAX_DEPTH:
        raise refused(path, field, f"is more than {MAX_DEPTH} levels deep")
    for part in parts:
        if problem := name_problem(part):
            raise refused(path, field, problem)
    return parts


def name_problem(name: str) -> str | None:
    """Why a name may not be used; None when it may. Written for the end of a sentence that begins with the path."""
    shown = repr(name if len(name) <= 40 else f"{name[:37]}...")
    if name in ("", ".", ".."):
        return "must go down from its folder, without `..`, `.`, an empty name or a leading `/`"
    if not _NAME.fullmatch(name):
        return f"has {shown}: a name is made of letters, digits, blanks, `_`, `.` and `-`"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"has {shown}: a name has at most {MAX_NAME_BYTES} bytes"
    if name[0] in ". " or name[-1] in ". ":
        return f"has {shown}: a name neither begins nor ends with a dot or a blank"
    if _DEVICE.fullmatch(name):
        return f"has {shown}: that name is a device on some systems"
    if unicodedata.normalize("NFC", name) != name:
        return f"has {shown}: its letters are not in Unicode form C"
    return None


def refused(path: str, field: str, problem: str, hint: str = "name it like research/btc-funding.md") -> InvalidInput:
    """The error of a path that breaks a rule."""
    shown = path if len(path) <= 80 else f"{path[:77]}..."
    return InvalidInput(f"{field}: {shown!r} {problem}", hint=hint, details={"field": field, "path": shown})


def suffix_of(path: str) -> str:
    """`.md` of a path that ends so, in small letters."""
    return PurePosixPath(path).suffix.lower()
