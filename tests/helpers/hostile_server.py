"""An HTTP server that misbehaves on command: the path says how."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from asr_batch.manifests.download import Limits

BODY = random.Random(1).randbytes(900_000)
QUICK = Limits(connect=2.0, read=0.5, grace=0.3, least_rate=5000.0, keep_free=1, resumes=3)


class Hostile(BaseHTTPRequestHandler):
    """`/cut` sends 300 kB at a time; `/cut-norange` too, but knows no ranges; `/flaky` fails twice first."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Range")))
        name = self.path.rpartition("/")[2].partition("-")[0].partition("?")[0].partition(".")[0]
        getattr(self, f"send_{name}")()

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send_ok(self):
        self.reply(200, BODY)
        self.wfile.write(BODY)

    def send_cut(self):
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        begin = int(found[1]) if found and "norange" not in self.path else 0
        if begin:
            rest = BODY[begin:]
            self.reply(206, rest, Content_Range=f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}", ETag='"v1"')
        else:
            self.reply(200, BODY, ETag='"v1"')
        # A server without ranges lets more through each time, as a bad line may.
        tries = sum(path == self.path for path, _ in self.server.seen)
        share = 300_000 * (tries if "norange" in self.path else 1)
        self.wfile.write(BODY[begin : begin + share])
        self.close_connection = True

    def send_whole(self):
        if self.headers.get("Range") == f"bytes={len(BODY)}-":
            self.reply(416, Content_Range=f"bytes */{len(BODY)}")
        else:
            self.send_ok()

    def send_dead(self):
        self.reply(200, BODY)
        self.close_connection = True

    def send_slow(self):
        self.reply(200, BODY)
        for index in range(100):
            self.wfile.write(BODY[index : index + 1])
            self.wfile.flush()
            time.sleep(0.05)

    def send_stuck(self):
        self.reply(200, BODY)
        self.wfile.write(BODY[:10])
        self.wfile.flush()
        time.sleep(2)

    def send_flaky(self):
        if len(self.server.seen) < 3:
            self.reply(503)
        else:
            self.send_ok()

    def send_status(self):
        self.reply(int(self.path.rpartition("-")[2]))

    def send_moved(self):
        self.reply(302, Location="/ok")

    def send_loop(self):
        self.reply(302, Location="/loop")

    def send_local(self):
        self.reply(302, Location="file:///etc/passwd")

    def log_message(self, *args):
        pass


@contextmanager
def hostile_server() -> Iterator[ThreadingHTTPServer]:
    """Its `url`, and in `seen` the paths and ranges that were asked for."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    made.seen, made.url = [], f"http://127.0.0.1:{made.server_port}"
    made.handle_error = lambda *args: None
    Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()
