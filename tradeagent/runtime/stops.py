"""Why a run ended, in words that scripts may match."""

from enum import StrEnum


class StopReason(StrEnum):
    MAX_TICKS = "max_ticks"
    END_OF_DATA = "end_of_data"
    COMMAND = "stop_command"
    INTERRUPTED = "interrupted"
    ONE_TICK = "one_tick"
    FAILED = "failed"
