"""Signals: the first asks for an orderly stop, a later one ends the process at once."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from agent.runtime.signals import HARD_EXIT, STOP_SIGNALS

PROGRAM = """
import itertools, signal, sys, threading
from agent.runtime.signals import stop_on_signals
stop = threading.Event()
stop_on_signals(stop, monotonic=itertools.count(1.0, float(sys.argv[3])).__next__)
for _ in range(int(sys.argv[2])):
    signal.raise_signal(signal.Signals(int(sys.argv[1])))
print("orderly" if stop.wait(20) else "still running", flush=True)
"""
WAITING = """
import signal, sys, threading
from agent.runtime.signals import stop_on_signals
stop = threading.Event()
stop_on_signals(stop)
with stop._cond:  # as whoever begins to wait, or ends it, holds it for a moment
    signal.raise_signal(signal.Signals(int(sys.argv[1])))
print("orderly" if stop.wait(20) else "still running", flush=True)
"""


def told(number: int, times: int = 1, *, apart: float = 1.0, program: str = PROGRAM) -> tuple[int, str]:
    """Run a process that gets a signal so often, `apart` seconds by its clock; return its exit status and output."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number)), str(times), str(apart)],
        check=False,
        timeout=50,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_the_first_signal_asks_for_an_orderly_stop(number: signal.Signals) -> None:
    assert told(number) == (0, "orderly")


def test_a_signal_at_the_moment_the_wait_for_it_begins_is_heeded_too() -> None:
    assert told(signal.SIGINT, program=WAITING) == (0, "orderly")


def test_a_signal_is_heeded_where_the_system_gives_no_more_threads() -> None:
    program = f"import _thread\ndef no_more(*_): raise RuntimeError\n_thread.start_new_thread = no_more\n{PROGRAM}"
    assert told(signal.SIGINT, program=program) == (0, "orderly")


def test_the_second_signal_ends_the_process_at_once() -> None:
    assert told(signal.SIGINT, 2) == (HARD_EXIT, "")


def test_a_signal_that_comes_twice_at_once_is_one_wish() -> None:
    assert told(signal.SIGTERM, 3, apart=0.01) == (0, "orderly")


def test_what_a_console_or_a_service_manager_sends_is_heeded() -> None:
    assert {"SIGINT", "SIGTERM"} <= {number.name for number in STOP_SIGNALS}
