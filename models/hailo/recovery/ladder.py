"""The recovery ladder of an NPU encoder and its parity probe.

Recovery starts at the rung that fits the failure. Every rung has a limited number of attempts:

1. a window failed: retry it;
2. the network is dead: configure it again;
3. the device is lost: reopen it, with waits in between;
4. still lost: encode on the CPU, and try to reopen the device later.

Every configuration is followed by a probe (:mod:`asr_batch.models.hailo.recovery.probe`). If the NPU fails
it, the NPU is quarantined and the CPU encodes from then on.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models.hailo.faults import INVALID_OPERATION, NpuError, Rung
from asr_batch.models.hailo.frames import Patience, Windows
from asr_batch.models.hailo.recovery.probe import Parity, Probe

log = logging.getLogger(__name__)


class Ladder:
    """Recovers an NPU and tracks whether its results can be trusted.

    `up`: the NPU encodes. `unproved` counts windows since the last good probe; `distrusted` means that some
    of them can no longer be verified.
    """

    def __init__(self, windows: Windows, probe: Probe, patience: Patience, probe_seconds: float) -> None:
        self.up = True
        self.unproved = 0
        self.distrusted = False
        self.parity = Parity()
        self.count: Counter[str] = Counter()
        self._windows, self._probe, self._patience = windows, probe, patience
        self._probe_seconds = probe_seconds
        self._probed = time.monotonic()
        self._comeback: float | None = None

    # -- the ladder -----------------------------------------------------------------------------------

    def rungs(self, fault: NpuError) -> Iterator[None]:
        """Yield whenever the NPU is worth another attempt, starting at the rung of `fault`.

        If the iterator ends, or `up` becomes False, the NPU has been given up or quarantined.
        """
        if not self.up:
            return
        self.count["incidents"] += 1
        spent = self.count["incidents"] > self._patience.incidents
        if fault.rung is Rung.JOB and not spent:
            self.count["retries"] += 1
            yield
        if fault.rung <= Rung.MODEL and not spent:
            for _ in range(self._patience.configures):
                if self._configured():
                    yield
                if not self.up:
                    return
        if fault.rung <= Rung.DEVICE and not spent:
            for seconds in self._patience.reopen_waits:
                if self._reopened(seconds):
                    yield
                if not self.up:
                    return
        self._give_up(str(fault))

    def _configured(self) -> bool:
        self.count["configures"] += 1
        try:
            self._windows.configure()
            return self._proved()
        except NpuError as fault:
            log.warning("%s", fault)
            return False

    def _reopened(self, seconds: float) -> bool:
        self.count["reopens"] += 1
        try:
            self._windows.reopen(seconds)
            return self._proved()
        except (NpuError, ModelError) as fault:
            log.warning("%s", fault)
            return False

    def _give_up(self, why: str) -> None:
        """Switch to the CPU; the device is tried again later, at growing intervals."""
        waits, losses = self._patience.comeback_waits, self.count["losses"]
        self.count["losses"] += 1
        self.count["incidents"] = 0
        self._leave()
        if losses < 2 * len(waits):
            self._comeback = time.monotonic() + waits[min(losses, len(waits) - 1)]
        log.error("giving up on the NPU, encoding on the CPU: %s", why)

    def _quarantine(self) -> None:
        self.count["quarantined"] = 1
        self.distrusted = self.distrusted or self.unproved > 0
        self._leave()
        log.error("the NPU is quarantined, encoding on the CPU: %s", self.parity)

    def _leave(self) -> None:
        self.up = False
        self._comeback = None
        self._windows.close()

    def come_back(self) -> None:
        """Try once to return to a lost NPU, when it is due."""
        if self.up or self._comeback is None or time.monotonic() < self._comeback:
            return
        self._comeback = None
        self.count["reopens"] += 1
        try:
            self._windows.reopen()
            self.up = True
            if self._proved():
                log.warning("the NPU is back")
        except (NpuError, ModelError) as fault:
            self._give_up(str(fault))

    # -- the probe ------------------------------------------------------------------------------------

    def first_probe(self) -> None:
        """Probe a device that was just opened. Raises NpuError when it accepts no window at all."""
        try:
            good = self._probe_now()
        except NpuError as fault:
            log.warning("the NPU failed in its first probe: %s", fault)
            good = self._probe_on_rungs(fault)
            if not good and fault.code == INVALID_OPERATION and not self.count["quarantined"]:
                raise  # permanent: this installation will never accept these buffers
        if not good and self.up:
            self._quarantine()

    def probe_if_due(self) -> None:
        """Probe for callers that never confirm; the next `confirm` reports a bad result."""
        if self.up and time.monotonic() - self._probed > 2 * self._probe_seconds:
            self.probe()

    def probe(self) -> None:
        """Probe, recovering a failing device first; on failure distrust the windows since the last probe."""
        try:
            good = self._probe_now()
        except NpuError as fault:
            log.warning("%s", fault)
            good = self._probe_on_rungs(fault)
        if good:
            self.unproved = 0
        elif self.up:
            self._quarantine()
        else:
            self.distrusted = self.distrusted or self.unproved > 0

    def confirm(self) -> bool:
        """Probe if unverified windows exist; False, once, if they cannot be trusted."""
        if self.unproved and not self.distrusted:
            if self.up:
                self.probe()
            else:
                self.distrusted = True  # lost before its windows could be verified
        trusted, self.distrusted, self.unproved = not self.distrusted, False, 0
        return trusted

    def _probe_on_rungs(self, fault: NpuError) -> bool:
        for _ in self.rungs(fault):
            try:
                return self._probe_now()
            except NpuError as again:
                log.warning("%s", again)
        return False

    def _proved(self) -> bool:
        """Probe a fresh configuration; quarantine the NPU if it fails."""
        if self._probe_now():
            return True
        self._quarantine()
        return False

    def _probe_now(self) -> bool:
        """Encode the golden clip and compare. Raises NpuError if encoding fails."""
        if not self.up:
            return False
        self.count["probes"] += 1
        self._probed = time.monotonic()
        self.parity = self._probe.judge(self._windows.encode(self._probe.log_mel[np.newaxis])[0])
        log.info("parity probe: %s", self.parity)
        return self.parity.good
