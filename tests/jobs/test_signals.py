from __future__ import annotations

import os
import signal
import subprocess
import sys

from asr_batch.jobs.console.signals import stop_signals


def test_handlers_are_kept_while_others_start_and_given_back_at_the_end():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as stop:
        with stop.kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.exit_code, stop.count) == (143, 1)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_while_starting_and_a_third_later_end_the_process():
    script = """if True:
        import os, signal, sys
        from asr_batch.jobs.console.signals import stop_signals
        with stop_signals() as stop:
            if sys.argv[1] == "starting":
                stop.starting = True
            for number in range(int(sys.argv[2])):
                os.kill(os.getpid(), signal.SIGINT)
            print(stop.count)
    """
    for phase, strikes, code in (("starting", 2, 130), ("later", 2, 0), ("later", 3, 130)):
        done = subprocess.run([sys.executable, "-c", script, phase, str(strikes)], capture_output=True)
        assert done.returncode == code
