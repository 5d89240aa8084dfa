"""Stopping: signals end a command and its workers soon; nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STOP_WITHIN_S = 20.0  # asked are 5; the tests may share their cores
CODE = """
import os, sys, time
from pathlib import Path
from alpamayo import signals
from alpamayo.cli import app, main
from alpamayo.parallel import in_order
from alpamayo_sim.io.files import replacing

def work(number):
    with replacing(Path(f"file-{number}")) as partial:
        partial.write_text("half")
        Path(f"worker-{os.getpid()}").touch()
        time.sleep(1000.0)

class Stubborn:
    def __del__(self):
        time.sleep(0.5)  # a signal that comes here would be swallowed

@app.command()
def sleepy(destructors: bool = False, tidy: bool = False):
    if tidy:
        signals.GRACE_S = 1000.0
        Path("worker-0").touch()
        try:
            time.sleep(1000.0)
        finally:
            Path("tidying").touch()
            time.sleep(1000.0)
    if destructors:
        Path("worker-0").touch()
        while True:
            Stubborn()
    list(in_order(work, [1, 2], workers=2))

if __name__ == "__main__":
    main()
"""


def started(tmp_path: Path, *arguments: str, expected: int) -> subprocess.Popen[bytes]:
    (tmp_path / "sleepy.py").write_text(CODE)
    command = [sys.executable, "sleepy.py", "sleepy", *arguments]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=default_signals)
    deadline = time.monotonic() + 240.0
    while len(list(tmp_path.glob("worker-*"))) < expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return run


def default_signals() -> None:
    """Undo what a shell that runs the tests in the background has set."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_the_command_and_its_workers(tmp_path: Path, number: signal.Signals) -> None:
    run = started(tmp_path, expected=2)
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")]
    assert len(workers) == 2
    run.send_signal(number)
    _, errors = run.communicate(timeout=STOP_WITHIN_S)
    assert run.returncode == (-9 if number == signal.SIGKILL else 128 + number), errors
    assert b"Traceback" not in errors
    deadline = time.monotonic() + STOP_WITHIN_S
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    left = {path.name for path in tmp_path.iterdir()} - {f"worker-{worker}" for worker in workers}
    assert left == {"sleepy.py"}


def test_a_signal_inside_a_destructor_is_not_lost(tmp_path: Path) -> None:
    run = started(tmp_path, "--destructors", expected=1)
    time.sleep(0.2)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=STOP_WITHIN_S)
    assert run.returncode == 128 + signal.SIGTERM


def test_a_second_interrupt_ends_a_command_that_tidies_up(tmp_path: Path) -> None:
    run = started(tmp_path, "--tidy", expected=1)
    run.send_signal(signal.SIGINT)
    while not (tmp_path / "tidying").exists():
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=STOP_WITHIN_S)
    assert run.returncode == 128 + signal.SIGINT
    assert b"Traceback" not in errors


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "sleepy.py").write_text(CODE)
    command = [sys.executable, "sleepy.py", "sleepy", "--destructors"]
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=ignore_hangup, stderr=subprocess.DEVNULL) as run:
        while not (tmp_path / "worker-0").exists():
            time.sleep(0.1)
        os.kill(run.pid, signal.SIGHUP)
        time.sleep(1.0)
        assert run.poll() is None
        run.kill()


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
