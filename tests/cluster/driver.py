"""A small driver for tests of the cluster pool: runs rows, tells every event as a line of JSON.

Arguments: address, number of `slow-` rows, further row names. Rows that begin with / are files.
Rules of retry as in jobs: what is nobody's fault runs again, suspects run alone, two lone kills end a row.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.workers.cluster import pool as ray_pool
from asr_batch.workers.pool import UnitDone, UnitsLost, WorkerSpec

BEGUN = time.monotonic()


def tell(**what) -> None:
    print(json.dumps({"t": round(time.monotonic() - BEGUN, 2), **what}), flush=True)


def unit(name, **more):
    location = name if name.startswith("/") else f"/nowhere/{name}"
    return Unit(AudioItem(name, name, location), end=1.0, seconds=1.0, deadline=6.0, **more)


def main(address, slow, names, model) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    maker = os.environ.get("MAKER", "simulated:SimulatedWorker")
    pool = ray_pool.start(WorkerSpec(model), address=address, strict="STRICT" in os.environ, maker=maker)
    tell(up=[[s.node, s.alive, s.workers, s.note] for s in pool.nodes()])
    todo = [unit(f"slow-{i:03}") for i in range(slow)] + [unit(name) for name in names]
    kills, alive = {}, None
    while todo or pool.open_units():
        for _ in range(pool.room()):
            if todo:
                pool.submit(todo.pop(0))
        for event in pool.wait(0.5):
            if isinstance(event, UnitDone):
                tell(done=event.result.key[0], worker=event.worker, text=event.result.windows[0].text)
            elif isinstance(event, UnitsLost):
                rows = sorted(one.item.id for one in event.units)
                tell(lost=rows, reason=event.reason, culpable=event.culpable, worker=event.worker)
                lone = event.culpable and len(rows) == 1
                for one in event.units:
                    kills[one.item.id] = kills.get(one.item.id, 0) + lone
                    if kills[one.item.id] < 2:
                        todo.insert(0, unit(one.item.id, alone=one.alone or event.culpable))
                    else:
                        tell(quarantined=one.item.id, reason=event.reason)
        now = [[s.node, s.alive, s.workers, s.note] for s in pool.nodes()]
        if now != alive:
            alive = now
            tell(nodes=now)
    pool.close()
    tell(end=True)


if __name__ == "__main__":
    folder = Path(os.environ.get("MODEL", "/var/empty-model"))
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:], str(folder))
