"""Handle signals and return exit codes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from consumer.process import signals

LONG = 30.0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_process_at_once(number: int, code: int) -> None:
    """It works during any blocking call."""
    program = (
        "import signal, time\n"
        "from consumer.process import signals\n"
        "with signals():\n"
        f"    signal.raise_signal({int(number)})\n"
        "    print('still here', flush=True)\n"
        f"    signal.raise_signal({int(number)})\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (code, "still here\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_and_is_remembered(number: int) -> None:
    """It comes from another process while the main thread sleeps."""
    with signals() as told:
        kick = threading.Timer(0.1, os.kill, (os.getpid(), number))
        kick.start()
        began = time.monotonic()
        told.wait(LONG)
        assert time.monotonic() - began < LONG
        kick.join()
        told.wait(0.0)  # the handler may run a moment after the wake-up byte is written
        assert told.first == number


def test_a_wait_ends_when_another_thread_wakes_it() -> None:
    """A wake-up before the wait is not lost."""
    with signals() as told:
        began = time.monotonic()
        told.wake()
        told.wait(LONG)
        kick = threading.Timer(0.1, told.wake)
        kick.start()
        told.wait(LONG)
        assert time.monotonic() - began < LONG
        assert told.first is None
        kick.join()


def test_a_full_pipe_wakes_the_main_thread_and_blocks_no_other() -> None:
    """A busy process may be woken repeatedly."""
    with signals() as told:
        for _ in range(100_000):
            told.wake()
        told.wait(LONG)


def test_the_previous_handlers_are_restored() -> None:
    """The process may continue with other work."""
    before = signal.getsignal(signal.SIGTERM)
    with signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_modules_load_ends_the_process_quietly(number: int, code: int) -> None:
    """The entry point installs the handler before it loads any other module."""
    program = (
        "import sys, signal\n"
        "class Loads:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        f"            signal.raise_signal({int(number)})\n"
        "sys.meta_path.insert(0, Loads())\n"
        "from consumer.__main__ import main\n"
        "assert 'typer' not in sys.modules\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
