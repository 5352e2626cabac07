"""Archives for the tests, on loopback: a real Orthanc, and a server that misbehaves as it is told."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from find_orthanc import find_orthanc

from boneviz.connection import Archive
from boneviz.credentials import Credentials

START_S = 20
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc with nothing in it."""

    url: str
    user: str
    password: str

    @property
    def archive(self) -> Archive:
        given = Credentials(self.user, self.password)
        return Archive(f"{self.url}/dicom-web", given, timeout_s=20)

    def upload(self, paths: list[Path]) -> None:
        for path in paths:
            answer = self._session().post(
                f"{self.url}/instances", data=path.read_bytes(), timeout=20
            )
            answer.raise_for_status()

    def statistics(self) -> dict[str, Any]:
        answer = self._session().get(f"{self.url}/statistics", timeout=20)
        return dict(answer.json())

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.auth = (self.user, self.password)
        return session


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start Orthanc with its database in `folder`, for this machine alone, and end it by its pid."""
    found = find_orthanc()
    assert found is not None, "no Orthanc with DICOMweb: python tests/find_orthanc.py --install"
    program, plugin = found
    port, user, password = free_port(), "boneviz", secrets.token_urlsafe(12)
    config = {
        "Name": "boneviz tests",
        "StorageDirectory": str(folder / "database"),
        "IndexDirectory": str(folder / "database"),
        "Plugins": [str(plugin)],
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {user: password},
        "DicomServerEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        "HttpThreadsCount": 4,
        "SaveJobs": False,
        "SyncStorageArea": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, folder / "orthanc.json"], stdout=log, stderr=log, cwd=folder
        )
    try:
        orthanc = Orthanc(f"http://127.0.0.1:{port}", user, password)
        deadline = time.monotonic() + START_S
        while True:
            try:
                assert orthanc.statistics()["CountStudies"] == 0
                break
            except requests.ConnectionError:
                said = (folder / "orthanc.log").read_text(errors="replace")[-2000:]
                assert process.poll() is None, f"Orthanc ended: {said}"
                assert time.monotonic() < deadline, f"Orthanc does not answer: {said}"
                time.sleep(0.05)
        yield orthanc
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def misbehaving(answer: Answer) -> Iterator[str]:
    """Serve every request by `answer`; give the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            answer(self)

        def do_POST(self) -> None:  # noqa: N802
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client has hung up, as it should

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(
    body: bytes,
    kind: str = "application/dicom+json",
    *,
    status: int = 200,
    **headers: str,
) -> Answer:
    """Answer with this body; underscores in names of headers stand for hyphens."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **given}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer
