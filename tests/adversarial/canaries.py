"""Keys that exist for one test only, and a scan for them in every form in which a key could leave."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_ALIGNMENTS = 3


@dataclass(frozen=True)
class Canary:
    """One key by the name of what it opens. The text has characters that an address must quote."""

    name: str
    value: str

    def forms(self) -> dict[str, bytes]:
        """Plain, backwards, in hexadecimal, quoted for an address, and in base64 at each of its three alignments."""
        raw = self.value.encode()
        found = {
            "plain": raw,
            "reversed": raw[::-1],
            "hex": raw.hex().encode(),
            "HEX": raw.hex().upper().encode(),
            "quoted": quote(self.value, safe="").encode(),
        }
        for shift in range(_ALIGNMENTS):
            # what is beside the key changes the first and the last characters only
            text = base64.b64encode(b"\x00" * shift + raw)[4:-4]
            found[f"base64+{shift}"] = text
            found[f"base64url+{shift}"] = text.replace(b"+", b"-").replace(b"/", b"_")
        return found


def found_in(canaries: Iterable[Canary], data: bytes, where: str) -> Iterator[str]:
    for canary in canaries:
        yield from (f"{canary.name} {form} in {where}" for form, text in canary.forms().items() if text in data)


def found_below(canaries: Iterable[Canary], root: Path) -> Iterator[str]:
    """Every file, whatever it is; a file's name too."""
    canaries = list(canaries)
    for path in sorted(root.rglob("*")):
        yield from found_in(canaries, str(path.relative_to(root)).encode(), "a file's name")
        if path.is_file() and not path.is_symlink():
            yield from found_in(canaries, path.read_bytes(), str(path.relative_to(root)))
