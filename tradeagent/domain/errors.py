"""Every error of the product, by who must act on it.

TradeAgentError
├── UserError        2   the person's input or configuration
│   ├── InvalidInput     invalid_input
│   ├── InvalidConfig    invalid_config
│   ├── UnknownKey       unknown_key
│   └── DataError        data_error
├── RefusedError     3   a risk rule, halt or gate (code = rule id)
├── NotFound         4   not_found
├── VenueError       5   venue_error (retryable)
├── ModelError       5   model_error
├── BusyError        6   busy
├── Interrupted    130   interrupted
└── Defect           1   internal (a bug)
"""

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class TradeAgentError(Exception):
    """Base: `code` for programs, `message` names the value and the field, `hint` says what to type next."""

    code: str = "internal"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", details: dict[str, Any] | None = None, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}
        if code is not None:
            self.code = code

    def as_dict(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}


class UserError(TradeAgentError):
    exit_code = 2


class InvalidInput(UserError):
    code = "invalid_input"


class InvalidConfig(UserError):
    """A configuration or front matter value: `details` carries file, line and field when known."""

    code = "invalid_config"


class UnknownKey(UserError):
    code = "unknown_key"


class DataError(UserError):
    """An unreadable or unusable data file, or bars that are not there."""

    code = "data_error"


class RefusedError(TradeAgentError):
    code = "refused"
    exit_code = 3


class NotFound(TradeAgentError):
    code = "not_found"
    exit_code = 4


class VenueError(TradeAgentError):
    code = "venue_error"
    exit_code = 5


class ModelError(TradeAgentError):
    code = "model_error"
    exit_code = 5


class BusyError(TradeAgentError):
    code = "busy"
    exit_code = 6


class Interrupted(TradeAgentError):
    code = "interrupted"
    exit_code = 130


class Defect(TradeAgentError):
    code = "internal"
    exit_code = 1


def near(word: str, known: Iterable[str]) -> str:
    """The hint for a word that is not known: `did you mean 'x'?`, or the list of what is known."""
    options = sorted(map(str, known))
    found = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(options)}"
