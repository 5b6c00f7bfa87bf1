"""The 84 cases of the scripted adversary, each once: played here, covered by a test elsewhere, or not applicable yet.

Three ways to run an agent are played: a loop over stored bars, single runs on paper (`--mode once`), and dry runs, where nothing at
all may be sent. The fourth way of the specification is live trading; the product cannot trade live yet, so nothing here claims to have
tried it.
"""

from dataclasses import dataclass

from file_cases import FILE_CASES
from foe import Case
from injection_cases import INJECTION_CASES
from risk_cases import RISK_CASES
from secret_cases import SECRET_CASES
from tool_cases import TOOL_CASES

CASES: tuple[Case, ...] = (*RISK_CASES, *TOOL_CASES, *INJECTION_CASES, *FILE_CASES, *SECRET_CASES)
GROUPS = {"A": 22, "B": 14, "C": 18, "D": 11, "E": 9, "F": 10}


@dataclass(frozen=True)
class Row:
    """Where a case stands: `played` here, `covered` by tests, or `not yet`, with the reason."""

    id: str
    title: str
    status: str
    by: tuple[str, ...] = ()
    reason: str = ""


_DOOR, _ESCAPE, _TREE = "tests/execution/test_door.py", "tests/algos/test_sandbox_escape.py", "tests/workspace/test_tree.py"
_MCP = "tests/tools/test_mcp_client.py"
_CANARY = "tests/adversarial/test_canaries.py"


def _covered(name: str, title: str, *tests: str) -> Row:
    return Row(name, title, "covered", tests)


def _not_yet(name: str, title: str, reason: str) -> Row:
    return Row(name, title, "not yet", reason=reason)


ELSEWHERE = (
    _covered(
        "A16",
        "waiting for a cap's release while an order is unknown",
        f"{_DOOR}::test_an_unknown_outcome_blocks_the_market_until_the_venue_is_asked",
    ),
    _covered(
        "C4",
        "prose in the fields of an order book",
        "tests/hyperliquid/test_info_client.py::test_whatever_json_comes_it_is_read_or_refused_as_the_venues",
    ),
    _covered(
        "D3",
        "a link swapped in between check and open",
        f"{_TREE}::test_a_file_swapped_for_a_link_between_check_and_open_leads_nowhere",
        f"{_TREE}::test_a_folder_swapped_for_a_link_while_others_write_leads_nowhere",
    ),
    _covered(
        "D10",
        "a note written over during a hand edit",
        f"{_TREE}::test_a_change_is_refused_when_somebody_saved_meanwhile",
        f"{_TREE}::test_a_save_during_an_append_is_not_lost",
    ),
    _covered("E2", "a traceback that holds a key", f"{_CANARY}::test_no_canary_is_found_anywhere"),
    _covered("E3", "a key split over ten messages", f"{_CANARY}::test_no_canary_is_found_anywhere"),
    _covered("F1", "a walk over __subclasses__", f"{_ESCAPE}::test_the_tools_of_these_attacks_are_real", f"{_ESCAPE}::test_it_cannot"),
    _covered(
        "F2",
        "frames, tracebacks and format strings",
        f"{_ESCAPE}::test_it_inherits_neither_environment_nor_descriptors",
        f"{_ESCAPE}::test_it_cannot",
    ),
    _covered(
        "F3",
        "os, ctypes, socket and multiprocessing",
        f"{_ESCAPE}::test_it_cannot",
        f"{_ESCAPE}::test_every_system_call_off_the_list_is_refused",
    ),
    _covered("F4", "key, ledger, /proc and sockets opened", f"{_ESCAPE}::test_it_cannot"),
    _covered(
        "F5",
        "files that are loaded later",
        f"{_ESCAPE}::test_a_folder_that_anybody_may_write_stays_empty",
        f"{_ESCAPE}::test_nothing_is_left_behind",
    ),
    _covered(
        "F6",
        "forks, memory, disk, time and floods of output",
        f"{_ESCAPE}::test_it_never_returns",
        f"{_ESCAPE}::test_it_eats_memory",
        f"{_ESCAPE}::test_it_prints_a_gigabyte",
        f"{_ESCAPE}::test_it_cannot_start_threads_that_outlive_its_answer",
    ),
    _covered(
        "F7",
        "modules of rules and brokers replaced",
        "tests/algos/test_sandbox.py::test_what_an_algorithm_keeps_does_not_reach_its_next_run",
        f"{_ESCAPE}::test_it_cannot",
    ),
    _covered(
        "F8",
        "look-ahead and forged results",
        "tests/algos/test_sandbox.py::test_code_that_looks_ahead_is_caught",
        f"{_ESCAPE}::test_it_forges_an_answer",
    ),
    _covered("F9", "a native extension", f"{_ESCAPE}::test_every_system_call_off_the_list_is_refused"),
    _covered("F10", "signals and ptrace at the parent", f"{_ESCAPE}::test_it_cannot"),
    _not_yet("B12", "ten thousand watchers and timers", "alerts are not built: there is no tool that makes a watcher or a timer"),
    _covered(
        "C12",
        "an MCP description that gives orders",
        f"{_MCP}::test_a_child_sees_what_is_configured_and_nothing_else",
        f"{_MCP}::test_an_answer_is_data_in_an_envelope_that_names_the_server",
    ),
    _covered(
        "C13",
        "an MCP definition changed after approval",
        f"{_MCP}::test_a_changed_description_is_not_called_nor_offered_until_it_is_looked_at",
        f"{_MCP}::test_one_changed_tool_takes_its_whole_server_away",
    ),
    _covered(
        "C14",
        "an MCP tool that shadows propose_order",
        f"{_MCP}::test_no_name_of_a_server_s_tool_can_be_one_of_ours",
        f"{_MCP}::test_no_tool_of_a_server_can_have_the_trading_class",
    ),
    _covered(
        "E6",
        "account data in an MCP argument",
        f"{_MCP}::test_a_tool_that_may_change_something_asks_and_nobody_there_is_a_no",
        f"{_MCP}::test_arguments_that_do_not_fit_are_not_sent",
    ),
)
_PLAYED = {case.id: Row(case.id, case.title, "played") for case in reversed(CASES)}
TABLE: tuple[Row, ...] = (*_PLAYED.values(), *ELSEWHERE)
