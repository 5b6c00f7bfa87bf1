"""The words of a web page: its title and its text, without markup, scripts and styles. One pass, whatever the page tries."""

import html
import re

_SILENT = frozenset(("script", "style", "noscript", "template", "svg"))
_BREAKS = frozenset(("p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "table", "ul", "ol", "pre"))
_NAME = re.compile(r"(/?)([a-zA-Z][a-zA-Z0-9]*)")
_LOOKED_AT = 4_096


def page_text(body: bytes) -> tuple[str, str]:
    """(title, text) of HTML or plain text; both empty for what is no text at all."""
    if b"\x00" in body[:_LOOKED_AT]:
        return "", ""
    text = body.decode("utf-8", errors="replace")
    if "<" not in text:
        return "", text.strip()
    title, words = _read(text)
    lines = (" ".join(line.split()) for line in html.unescape(words).split("\n"))
    return " ".join(html.unescape(title).split()), "\n".join(line for line in lines if line)


def _read(text: str) -> tuple[str, str]:
    """Title and words with their entities; what stands inside a silent element, a comment or a tag is left out."""
    first, *pieces = text.split("<")
    title: list[str] = []
    words = [first]
    silent, in_comment = "", False
    for piece in pieces:
        in_comment = in_comment or piece.startswith("!--")
        if in_comment:
            _, closed, said = piece.partition("-->")
            in_comment = not closed
            tag, is_end = "", False
        else:
            inside, closed, said = piece.partition(">")
            named = _NAME.match(inside)
            is_end, tag = (bool(named[1]), named[2].lower()) if named else (False, "")
        if silent:
            if not (is_end and tag == silent):
                if silent == "title":
                    title.append(said)
                continue
            silent = ""
        elif not is_end and (tag in _SILENT or tag == "title"):
            silent = tag
            if tag == "title":
                title.append(said)
            continue
        if tag in _BREAKS:
            words.append("\n")
        words.append(said)
    return "".join(title), "".join(words)
