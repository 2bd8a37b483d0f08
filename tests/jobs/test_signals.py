from __future__ import annotations

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
    script = """if True:
        import ctypes, os, signal, sys, time
        from asr_batch.jobs.console.signals import signals_blocked, stop_signals
        with signals_blocked():
            import numpy  # its library starts threads
            with stop_signals() as stop:
                ctypes.CDLL(None).signal(int(sys.argv[1]), None)  # the default: Ray's end sets it, unseen
                os.kill(os.getpid(), int(sys.argv[1]))
                while not stop.count:
                    time.sleep(0.01)
                sys.exit(stop.exit_code)
    """
    done = subprocess.run([sys.executable, "-c", script, str(int(number))], timeout=60)
    assert done.returncode == 128 + number


def test_handlers_and_mask_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert until(lambda: stop.exit_code == 143)
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_hanging_up_stops_a_job_unless_it_was_to_be_ignored():
    script = """if True:
        import os, signal, time
        from asr_batch.jobs.console.signals import stop_signals
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            end = time.monotonic() + 2
            while not stop.count and time.monotonic() < end:
                time.sleep(0.01)
            print(stop.exit_code)
    """
    command = [sys.executable, "-c", script]
    # Whoever runs the tests may have started them with nohup.
    heard = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert heard.stdout == "129\n"
    assert subprocess.run(["nohup", *command], capture_output=True, text=True).stdout == "None\n"


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
            stop.last_words = lambda: os.write(2, b"ended")
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
        assert (done.returncode, done.stderr) == (code, b"ended" if code else b"")


def test_ctrl_c_ends_a_command_that_does_not_listen_with_its_code():
    script = """if True:
        import os, signal, sys
        from asr_batch.jobs import __main__ as command
        from asr_batch.jobs.cli.commands import export
        export.export.callback = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)
        sys.argv[1:] = ["export", ".", "--format", "srt", "--to", "there"]
        command.entry()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "asr-batch: stopped\n")
