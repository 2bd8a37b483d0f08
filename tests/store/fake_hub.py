"""A model hub on localhost: the calls of huggingface_hub that the store makes, and ways to fail at them."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Repositories as {repository: {file: bytes}}, what to do wrong, and what was asked."""

    repositories: dict[str, dict[str, bytes]]
    cut_after: int | None = None  # send this many bytes of one large answer, then close
    broken: bool = False  # answer every file with 500
    corrupt: str | None = None  # the file whose bytes are not the announced ones
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self.server
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                answer(hub, self)

            def do_HEAD(self) -> None:
                answer(hub, self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        assert self.server
        self.server.shutdown()
        self.server.server_close()


def answer(hub: FakeHub, request: BaseHTTPRequestHandler) -> None:
    path = request.path.partition("?")[0].strip("/")
    hub.requests.append((request.command, path, request.headers.get("Range", "")))
    if path.startswith("api/models/"):
        name, _, revision = path.removeprefix("api/models/").partition("/revision/")
        return info(hub, request, name, revision or "main")
    name, _, rest = path.partition("/resolve/")
    _revision, _, file = rest.partition("/")
    return send_file(hub, request, name, file)


def info(hub: FakeHub, request: BaseHTTPRequestHandler, name: str, revision: str) -> None:
    if name not in hub.repositories:
        return reply(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
    if revision not in ("main", COMMIT):
        return reply(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
    siblings = []
    for file, data in hub.repositories[name].items():
        entry = {"rfilename": file, "size": len(data), "blobId": git_id(data)}
        if len(data) > 10_000:
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        siblings.append(entry)
    body = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}
    return reply(request, 200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def send_file(hub: FakeHub, request: BaseHTTPRequestHandler, name: str, file: str) -> None:
    data = hub.repositories.get(name, {}).get(file)
    if hub.broken or data is None:
        return reply(request, 500 if hub.broken else 404, b"", {"X-Error-Code": "EntryNotFound"})
    if file == hub.corrupt:
        data = bytes(len(data))
    start = 0
    if wanted := request.headers.get("Range"):
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_id(data)}"', "Accept-Ranges": "bytes"}
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    limit = None
    if request.command == "GET" and hub.cut_after and len(data) > hub.cut_after:
        limit, hub.cut_after = hub.cut_after, None
    return reply(request, 206 if start else 200, data[start:], headers, limit)


def reply(
    request: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str], limit: int | None = None
) -> None:
    request.send_response(code)
    for key, value in headers.items():
        request.send_header(key, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command == "HEAD":
        return
    try:
        request.wfile.write(body[:limit] if limit is not None else body)
    except ConnectionError:  # the other side gave up
        return
    if limit is not None and limit < len(body):
        request.close_connection = True


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
