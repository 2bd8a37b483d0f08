from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from asr_batch.jobs.console.signals import signals_for_children, stop_signals


def until(told) -> bool:
    end = time.monotonic() + 5
    while not told() and time.monotonic() < end:
        time.sleep(0.01)
    return told()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_whatever_native_code_does_to_the_handlers(number):
    before = signal.getsignal(number)
    with stop_signals() as stop:
        ctypes.CDLL(None).signal(number, None)  # SIG_DFL, as Ray's end does behind Python's back
        os.kill(os.getpid(), number)
        assert until(lambda: stop.count == 1)
        assert stop.exit_code == 128 + number
    assert signal.getsignal(number) == before
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_children_started_for_it_can_be_ended():
    with stop_signals():
        with signals_for_children():
            child = subprocess.Popen(["sleep", "60"])
        child.terminate()
        assert child.wait(timeout=10) == -signal.SIGTERM


def test_a_second_signal_while_starting_and_a_third_later_end_the_process():
    script = """if True:
        import contextlib, os, signal, sys, time
        from asr_batch.jobs.console.signals import stop_signals
        with stop_signals() as stop:
            phase = stop.starting() if sys.argv[1] == "starting" else contextlib.nullcontext()
            phase.__enter__()
            for number in range(int(sys.argv[2])):
                os.kill(os.getpid(), signal.SIGINT)
                while stop.count <= number:
                    time.sleep(0.01)
            print(stop.count)
    """
    for phase, strikes, code in (("starting", 2, 130), ("later", 2, 0), ("later", 3, 130)):
        done = subprocess.run([sys.executable, "-c", script, phase, str(strikes)], capture_output=True)
        assert done.returncode == code
