"""What a process that runs Ray says, to the letter: its descriptor 2 as Ray's C++ core uses it, and stdout."""

import signal
import subprocess
import sys

import pytest

STAMP = "[2026-11-26 11:11:20,096 E 5037 5037]"
RAYLET = "\x1b[33m(raylet)\x1b[0m"  # as Ray prints it, in colour where there is none
NOISE = (
    f"{STAMP} core_worker.cc:2465: Actor with class name: 'MapWorker(MapBatches(Attributor))' and ID: '38c0' has"
    " constructor arguments in the object store and max_restarts > 0. If the arguments in the object store go out of"
    " scope or are lost, the actor restart will fail. See https://github.com/ray-project/ray/issues/53727 for more"
    " details.",
    f"{STAMP} actor_task_submitter.cc:186: Failed to reconstruct actor. Error message: Invalid: Actor is permanently"
    " dead. actor_id=38c0",
    f"{STAMP} (driver) actor_task_submitter.cc:186: Failed to reconstruct actor. Error message: Actor is permanently"
    " dead.",
    f"{RAYLET} A worker died or was killed while executing a task by an unexpected system error. To troubleshoot, ...",
    f"{RAYLET} Task MapWorker(MapBatches(Attributor)).submit failed. There are 4 retries remaining, so the task will be"
    " retried. Error: The actor is temporarily unavailable: RpcError: RPC error: Socket closed rpc_code: 14",
)
REAL = (
    f"{STAMP} core_worker.cc:900: Failed to connect to GCS at address 10.0.0.1:6379 within 5 seconds.",
    f"{STAMP} actor_task_submitter.cc:186: Failed to reconstruct actor. Error message: GrpcUnavailable: lost",
    "*** SIGABRT received at time=1790000000 on cpu 1 ***",
    "a line about nothing: 'has constructor arguments in the object store and max_restarts > 0'",
    f"{RAYLET} The node with node id: 1f has been marked dead",
    "",
)


def run(body):
    """What a process does with `body` in the block; stdout, stderr and exit code."""
    code = "import os, signal, sys\nfrom pneumo_batch.execution import quiet\n"
    code += "def core(*lines):\n    for line in lines: os.write(2, (line + '\\n').encode())\n"
    code += (
        f"print('before')\nprint('our before', file=sys.stderr)\nwith quiet.filtered():\n    {body}\nprint('after')\n"
    )
    code += "os.write(2, b'core after\\n')\n"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    return found.stdout.decode(), found.stderr.decode(), found.returncode


@pytest.mark.parametrize("line", NOISE)
def test_a_line_that_worries_for_nothing_is_not_shown(line):
    assert run(f"core({line!r})") == ("before\nafter\n", "our before\ncore after\n", 0)


def test_every_other_line_comes_through_to_the_letter():
    lines = [NOISE[0], *REAL, NOISE[1], "ü €", NOISE[3]]
    expected = "".join(f"{line}\n" for line in [*REAL, "ü €"])
    assert run(f"core(*{lines!r})")[1] == f"our before\n{expected}core after\n"


def test_what_is_printed_to_stdout_meanwhile_goes_to_stderr():
    assert run(f"print({REAL[4]!r}); print({NOISE[4]!r})") == (
        "before\nafter\n",
        f"our before\n{REAL[4]}\ncore after\n",
        0,
    )


def test_a_line_in_pieces_and_one_without_an_end():
    pieces = (NOISE[0][:40], NOISE[0][40:] + "\n[half", " a line")
    assert (
        run("; ".join(f"os.write(2, {piece.encode()!r})" for piece in pieces))[1]
        == "our before\n[half a linecore after\n"
    )


def test_pythons_own_stderr_does_not_wait_and_its_errors_come_through():
    out, err, code = run("print('ours', file=sys.stderr); raise ValueError('wrong')")
    assert (out, code) == ("before\n", 1)
    assert err.startswith("our before\nours\nTraceback")
    assert err.endswith("ValueError: wrong\n")


def test_what_is_written_as_the_process_crashes_arrives():
    _, err, code = run(f"core({NOISE[0]!r}, {REAL[0]!r}); sys.stdout.flush(); os.abort()")
    assert (err, code) == (f"our before\n{REAL[0]}\n", -signal.SIGABRT)


def test_an_interrupted_process_says_so_and_ends_by_itself():
    out, err, _ = run("raise KeyboardInterrupt")
    assert out == "before\n"
    assert err.splitlines()[0] == "our before"
    assert err.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(3)", "ValueError"])
def test_stdout_is_back_after_any_end(error):
    body = (
        f"try:\n    with quiet.filtered(): raise {error}\nexcept BaseException as found: print(type(found).__name__)\n"
    )
    body += "print('ours', file=sys.stderr, flush=True)\n"
    body += f"os.write(2, {NOISE[0].encode()!r} + b'\\n')\n"
    found = whole(body)
    assert found.stdout.decode() == f"{error.partition('(')[0]}\n"
    # where it was interrupted, descriptor 2 leads through the filter until the process ends
    assert found.stderr.decode() == ("ours\n" if error != "ValueError" else f"ours\n{NOISE[0]}\n")


def test_a_notebook_has_its_streams_back_after_the_stop_button():
    body = "import io\nsys.stdout, sys.stderr = cell = io.StringIO(), io.StringIO()\n"
    body += "for _ in range(2):\n"
    body += "    try:\n        with quiet.filtered():\n            print('Ray')\n            raise KeyboardInterrupt\n"
    body += "    except KeyboardInterrupt: print('stopped')\n"
    body += "assert (sys.stdout, sys.stderr) == cell\n"
    body += "assert [one.getvalue() for one in cell] == ['stopped\\n' * 2, 'Ray\\n' * 2]\n"
    whole(body)


def whole(body):
    """A process that does `body`, to its end."""
    code = f"import os, sys\nfrom pneumo_batch.execution import quiet\n{body}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)


def test_a_terminal_stays_one_for_progress_bars():
    code = "import os, pty, sys\nfrom pneumo_batch.execution import quiet\n"
    code += (
        "master, slave = pty.openpty()\nos.dup2(slave, 2)\nwith quiet.filtered():\n    found = sys.stderr.isatty()\n"
    )
    code += "print(found)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout == b"True\n"
