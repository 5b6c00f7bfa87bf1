"""Code that has got hold of the real interpreter tries to leave its sandbox: each attempt for real, against a real child."""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.algos.indicator_bars import walk
from tests.algos.sandboxed import run_python
from tradeagent.algos.sandbox import Limits, Sandbox
from tradeagent.domain.errors import RefusedError, TradeAgentError

BARS = walk(50)
SHORT = Limits(cpu_s=1, wall_s=15)
ARMED = """
import statistics
sys = statistics.sys
os = sys.modules["os"]
real = os.__builtins__
load = real["__import__"]
import numpy as np
"""


def attack(*lines: str) -> str:
    return (
        ARMED + "def signals(bars, **params):\n" + "".join(f"    {line}\n" for line in lines) + "    return np.zeros(len(bars['close']))\n"
    )


def caught(source: str, limits: Limits = SHORT) -> TradeAgentError:
    with pytest.raises(TradeAgentError) as error:
        run_python(source, BARS, {}, limits=limits)
    return error.value


def test_the_tools_of_these_attacks_are_real() -> None:
    assert not run_python(attack("assert os.getpid() > 1 and real['open'] is not open and load('socket')"), BARS, {}).any()


DENIED = {
    "read a file": "real['open']('/etc/passwd').read()",
    "read with numpy": "os.read(os.open('/etc/hostname', os.O_RDONLY), 10)",
    "list a folder": "os.listdir('/')",
    "read its environment": "real['open']('/proc/self/environ').read()",
    "read its parent's environment": "real['open'](f'/proc/{os.getppid()}/environ').read()",
    "read its parent's memory": "real['open'](f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "write where it is": "real['open']('file', 'w')",
    "write to the temporary folder": "real['open']('/tmp/tradeagent-escaped', 'w')",
    "write to the interpreter": "real['open'](os.__file__, 'r+')",
    "make a folder": "os.mkdir('/tmp/tradeagent-escaped')",
    "remove a file": "os.unlink('/tmp/tradeagent-victim')",
    "rename": "os.rename('/tmp/tradeagent-victim', '/tmp/tradeagent-escaped')",
    "change a mode": "os.chmod('/tmp/tradeagent-victim', 0o777)",
    "go elsewhere": "os.chdir('/')",
    "change its root": "os.chroot('/tmp')",
    "open a socket": "load('socket').socket()",
    "open a local socket": "load('socket').socketpair()",
    "resolve a name": "load('socket').socket(2, 2).sendto(b'x', ('127.0.0.1', 53))",
    "fork": "os.fork()",
    "start a program": "load('subprocess').Popen(['/bin/true'])",
    "become a program": "os.execv('/bin/true', ['true'])",
    "start by posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "signal its parent": "os.kill(os.getppid(), 18)",
    "signal everybody": "os.killpg(os.getpgid(os.getppid()), 18)",
    "sleep": "load('time').sleep(3)",
    "become another user": "os.setuid(12345)",
    "make a file in memory": "os.memfd_create('x')",
    "open a pipe": "os.pipe()",
    "map another process": "load('multiprocessing.shared_memory').shared_memory.SharedMemory(create=True, size=10)",
}


@pytest.fixture(scope="module")
def cell() -> Iterator[Sandbox]:
    """One child that tries what its parameter names."""
    lines = [f"if params['what'] == {name!r}: {line}" for name, line in DENIED.items()]
    with Sandbox(attack(*lines), BARS) as sandbox:
        yield sandbox


@pytest.mark.parametrize("what", DENIED)
def test_it_cannot(cell: Sandbox, what: str) -> None:
    with pytest.raises(RefusedError, match="of the algorithm tried what the sandbox forbids: PermissionError") as error:
        cell.signals({"what": what})
    assert error.value.details["reason"] == "sandbox_denied"
    assert not Path("/tmp/tradeagent-escaped").exists()


def test_a_folder_that_anybody_may_write_stays_empty(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "secret").write_text("hunter2")
    lines = [
        "for act in (lambda p: real['open'](p + '/new', 'w'), lambda p: np.zeros(3).tofile(p + '/new'), lambda p: os.mkdir(p + '/dir'),",
        "            lambda p: os.symlink('/', p + '/link'), lambda p: os.truncate(p + '/secret', 0), lambda p: np.load(p + '/secret')):",
        f"    try: act({str(tmp_path)!r})",
        "    except BaseException: continue",
        "    raise ValueError(repr(act))",
    ]
    assert not run_python(attack(*lines), BARS, {}).any()
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_text() == "hunter2"


def test_it_inherits_neither_environment_nor_descriptors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADEAGENT_SECRET", "hunter2")
    secret = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(secret, True)
    try:
        told = caught(attack("raise ValueError(sorted(os.environ), os.getcwd())"))
        lines = (
            "found = []",
            "for fd in range(1024):",
            "    try: found.append((fd, os.fstat(fd).st_mode >> 12))",
            "    except OSError: pass",
        )
        opened = caught(attack(*lines, "raise ValueError(found)"))
    finally:
        os.close(secret)
    assert "['LC_ALL', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS']" in told.message
    assert "tradeagent-sandbox-" in told.message
    character, pipe = 2, 1
    assert opened.message.count(f", {character})") == 3 and opened.message.count(f", {pipe})") == 2
    assert opened.message.count("(") == 3 + 2


def test_every_system_call_off_the_list_is_refused() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    lines = [
        "ctypes = sys.modules['ctypes']; call = ctypes.CDLL(None, use_errno=True).syscall",
        "allowed = set(map(int, params['allowed'].split())) | {257}",
        "for number in set(range(600)) - {335, 336}:",  # uretprobe and uprobe: the kernel lets them pass, and ends whoever calls them
        "    for real_number in {number, number | 0x40000000} - allowed:",
        "        done = call(real_number, 0, 0, 0, 0, 0, 0)",
        "        if done != -1 or ctypes.get_errno() != 1: raise ValueError(f'{real_number} gave {done}, {ctypes.get_errno()}')",
        "for flags in (1, 2, 0o100, 0o1000, 0o20200000 | 2):",
        "    if call(257, -100, b'/tmp/x', flags, 0o666) != -1 or ctypes.get_errno() != 1: raise ValueError(f'openat {flags}')",
    ]
    from tradeagent.algos.sandbox.confine import _MACHINES

    with Sandbox(attack(*lines), BARS, limits=SHORT) as sandbox:
        assert not sandbox.signals({"allowed": _MACHINES["x86_64"][3]}).any()


def test_it_cannot_start_threads_that_outlive_its_answer() -> None:
    assert "can't start new thread" in caught(attack("load('threading').Thread(target=print).start()")).message


ENDLESS = {
    "computing": ("while True: pass", Limits(cpu_s=1, wall_s=60), "1 s of CPU"),
    "computing against its signal": ("load('signal').signal(24, 1)\n    while True: pass", Limits(cpu_s=1, wall_s=3), "within 3 s"),
    "inside numpy": ("while True: np.linalg.svd(np.ones((500, 500)))", Limits(wall_s=1), "within 1 s"),
    "waiting": ("lock = load('_thread').allocate_lock(); lock.acquire(); lock.acquire()", Limits(wall_s=1), "within 1 s"),
    "printing": ("while True: print('x' * 10**6)", Limits(wall_s=1), "within 1 s"),
}


@pytest.mark.parametrize("how", ENDLESS)
def test_it_never_returns(how: str) -> None:
    lines, limits, message = ENDLESS[how]
    error = caught(attack(lines), limits)
    assert error.details["reason"] == "sandbox_time" and message in error.message
    assert "fewer bars" in error.hint and "_s" not in error.hint, "nobody can set the limit"


@pytest.mark.parametrize(
    "lines",
    [
        "x = [0] * 10**11",
        "x = np.ones(10**9)",
        "x = []\n    while True: x.append(bytes(10**7))",
        "x = 'x' * 10**10",
        "raise ValueError('x' * 2 * 10**9)",
    ],
)
def test_it_eats_memory(lines: str) -> None:
    error = caught(attack(lines))
    assert error.details["reason"] == "sandbox_memory" and "more than 1,024 MB" in error.message
    assert "fewer bars" in error.hint and "memory_mb" not in error.hint


def test_it_prints_a_gigabyte() -> None:
    assert not run_python(attack("for _ in range(1000): os.write(1, bytes(10**6)); os.write(2, bytes(10))"), BARS, {}).any()


CRASHING = {
    "leaves": ("os._exit(0)", "left with 0"),
    "breaks": ("sys.modules['ctypes'].string_at(0)", "was ended by SIGSEGV"),
}
ANSWERS = "answers = next(fd for fd in range(3, 9) if os.fstat(fd).st_mode >> 12 == 1 and sys.modules['fcntl'].fcntl(fd, 3) & 1)"
FORGED = {
    "rubbish": "os.write(answers, b'x' * 1000)",
    "a signal of 7": "os.write(answers, b'=' + (50).to_bytes(8, 'little') + bytes([7]) * 50)",
    "too few signals": "os.write(answers, b'=' + (5).to_bytes(8, 'little') + bytes(5))",
    "an endless answer": "os.write(answers, b'=' + (2**60).to_bytes(8, 'little'))",
    "an error that is none": "os.write(answers, b'!' + (2).to_bytes(8, 'little') + b'[]')",
    "an error with wrong parts": "text = b'{\"kind\": 3}'; os.write(answers, b'!' + len(text).to_bytes(8, 'little') + text)",
}


@pytest.mark.parametrize("how", CRASHING)
def test_its_process_ends(how: str) -> None:
    lines, message = CRASHING[how]
    error = caught(attack(lines))
    assert error.details["reason"] == "sandbox_crashed" and message in error.message


def test_it_hangs_up_and_lingers() -> None:
    """It is ended whichever comes first: the parent's patience with a process that closed its pipe, or the limit of CPU."""
    error = caught(attack("for fd in range(3, 64):\n        try: os.close(fd)\n        except OSError: pass\n    while True: pass"))
    assert error.details["reason"] in ("sandbox_crashed", "sandbox_time")


@pytest.mark.parametrize("what", FORGED)
def test_it_forges_an_answer(what: str) -> None:
    error = caught(attack("load('fcntl')", ANSWERS, FORGED[what]))
    assert error.details["reason"] == "sandbox_crashed" and "something that is no answer" in error.message


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    run_python(attack(), BARS, {})
    for line in ("1 / 0", "os._exit(3)"):
        caught(attack(line))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("on_a_terminal")
def test_an_interrupt_ends_the_child() -> None:
    with Sandbox(attack("while True: pass"), BARS, limits=Limits(cpu_s=20)) as sandbox:
        child = sandbox._started()._child
        timer = threading.Timer(0.7, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            sandbox.signals({})
        timer.join()
        assert sandbox._process is None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_it_holds_for_a_user_who_is_not_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as a user")
    script = (
        "import numpy as np\nfrom tests.algos.indicator_bars import walk\nfrom tests.algos.test_sandbox_escape import DENIED, attack\n"
        "from tests.algos.sandboxed import run_python\nfrom tradeagent.domain.errors import RefusedError\n"
        "print(int(run_python(attack(), walk(50), {}).sum()))\n"
        "for name in ('read a file', 'open a socket', 'fork', 'write to the temporary folder'):\n"
        "    try: run_python(attack(DENIED[name]), walk(50), {})\n"
        "    except RefusedError as error: print(error.details['reason'])\n"
    )
    nobody = 65_534
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], user=nobody, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )
    except PermissionError:
        pytest.skip("another user may not run this interpreter")
    if done.returncode and "Permission" in done.stderr:
        pytest.skip("another user may not read this checkout")
    assert done.stdout.split() == ["0", *["sandbox_denied"] * 4], done.stderr
