"""Archives on loopback: a real Orthanc, and a server that misbehaves as it is told."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
BOUNDARY = "b0undary"


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
    """Start Orthanc with its database in `folder`, for this machine alone; end it by its pid."""
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
def misbehaving(answer: Answer, *, certificate: Path | None = None) -> Iterator[str]:
    """Serve every request by `answer`, over TLS where there is a certificate; give the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            # the client may hang up, as it should
            with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        scheme = "http" if certificate is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
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


def one_part(body: bytes, **headers: str) -> Answer:
    """Answer with one DICOM object in its envelope."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    envelope = head + body + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return says(envelope, kind, **headers)


def archive_of(files: dict[str, Answer], study: str, series: str) -> Answer:
    """Answer as an archive with one CT series, whose files are given by their SOPInstanceUID."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        here = f"/studies/{study}/series"
        if path.startswith(f"{here}/{series}/instances/"):
            files[path.rsplit("/", 1)[1]](request)
            return
        found: list[dict[str, str]] = []
        if "offset=0" in query and path == here:
            found = [{"0020000E": series, "00080060": "CT"}]
        elif "offset=0" in query and path == f"{here}/{series}/instances":
            found = [{"00080018": uid} for uid in files]
        says(data_sets(*found))(request)

    return answer


def data_sets(*found: dict[str, str]) -> bytes:
    """Return DICOM JSON of data sets, each tag -> value."""
    return json.dumps(
        [{tag: {"vr": "UN", "Value": [given]} for tag, given in each.items()} for each in found]
    ).encode()
