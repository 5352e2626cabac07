"""One address and no other, within bounds, and every failure says what to do without a secret."""

from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from archives import Answer, free_port, misbehaving, says

import boneviz.connection
from boneviz.connection import Archive
from boneviz.credentials import Credentials
from boneviz.dicomweb import find_studies
from boneviz.errors import ArchiveError, InputError

SECRET = Credentials("CANARY-USER", "CANARY-PASSWORD")
LOOPBACK = Path(__file__).with_name("loopback.pem")


def refused_with(answer: Answer, said: str, *, timeout_s: float = 5.0) -> None:
    """Ask for studies and check what is raised."""
    with misbehaving(answer) as url:
        archive = Archive(url, SECRET, timeout_s=timeout_s)
        with pytest.raises(ArchiveError, match=said) as caught:
            find_studies(archive, patient_id="CANARY-ID")
    assert str(caught.value).startswith(url)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "does not understand the request"),
        (401, "wants other credentials: see --credentials"),
        (403, "may not do that"),
        (404, "ends in /dicom-web"),
        (429, "wait, then run"),
        (500, "status 500; look at the archive's log"),
        (503, "it is busy"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, said: str) -> None:
    refused_with(says(b"CANARY-SERVER", "text/plain", status=status), said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>log in CANARY</html>", "no JSON.*a page to log in"),
        (b'[{"CANARY"', "no JSON"),
        (b"\xff\xfe[", "no JSON"),
        (b"[" * 100_000, "cannot be understood|no JSON"),
        (b"[" + b"1" * 5000 + b"]", "cannot be understood|no JSON"),
        (b"[1, 2]", "no list of data sets"),
        (b'"CANARY"', "no list of data sets"),
        (b"null", "no list of data sets"),
        (b'{"errors": ["CANARY"]}', r"StudyInstanceUID \(0020,000D\) is missing or no UID"),
        (b'[{"0020000D": "1.2"}]', "missing or no UID"),
        (b'[{"0020000D": {"Value": 3}}]', "missing or no UID"),
        (b'[{"0020000D": {"Value": ["../CANARY"]}}]', "missing or no UID"),
        (b'[{"0020000D": {"Value": ["1..2"]}}]', "missing or no UID"),
    ],
)
def test_an_answer_that_is_none_is_refused(body: bytes, said: str) -> None:
    refused_with(says(body), said)


def test_an_answer_that_repeats_itself_ends() -> None:
    # pages are asked for until nothing new comes
    with misbehaving(says(b'[{"0020000D": {"Value": ["1.2"]}}]')) as url:
        assert [study.uid for study in find_studies(Archive(url))] == ["1.2"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    asked: list[str] = []

    def elsewhere(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        says(b"[]")(request)

    with misbehaving(elsewhere) as other:
        target = f"{other}/studies?PatientID=CANARY"
        refused_with(says(b"", status=status, Location=target), f"redirect to {other} ")
    assert asked == []


@pytest.mark.parametrize("target", ["", "/log-in/CANARY", "https://CANARY:p@x/", "\x1b[31mCANARY"])
def test_a_redirects_target_is_named_by_its_host_alone(target: str) -> None:
    refused_with(says(b"", status=302, Location=target), "redirect to another place")


def test_silence_ends_by_the_timeout() -> None:
    begun = time.monotonic()
    refused_with(lambda _: time.sleep(1.5), r"no answer within 0\.2 s.*--timeout", timeout_s=0.2)
    assert time.monotonic() - begun < 1.4


def test_an_answer_that_stops_half_way_ends_by_the_timeout() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")
        time.sleep(1.5)

    refused_with(answer, r"no answer within 0\.2 s", timeout_s=0.2)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"H"),
    ],
)
def test_a_head_that_only_trickles_is_given_up(first: bytes, then: bytes, encrypted: bool) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            request.wfile.write(first)
            for _ in range(60):
                request.wfile.write(then)
                time.sleep(0.05)

    begun = time.monotonic()
    with misbehaving(answer, certificate=LOOPBACK if encrypted else None) as url:
        archive = Archive(url, timeout_s=0.3, ca_file=LOOPBACK if encrypted else None)
        with pytest.raises(ArchiveError, match=r"no answer within 0\.3 s.*--timeout"):
            find_studies(archive)
        waited_s = time.monotonic() - begun
    # each of them comes within 0.3 s, for 3 s
    assert waited_s < 1.5


def test_a_trickle_is_given_up() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            request.wfile.write(b" ")
            time.sleep(0.05)

    refused_with(answer, "below 1000 a second", timeout_s=0.3)


def test_an_answer_that_breaks_off_is_refused() -> None:
    refused_with(says(b"[", Content_Length="100", Connection="close"), "broke off")


@pytest.mark.parametrize("declared", [True, False])
def test_a_longer_answer_than_is_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, declared: bool
) -> None:
    monkeypatch.setattr(boneviz.connection, "MAX_ANSWER_BYTES", 10_000)
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent < 2**26:
            request.wfile.write(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
            sent += 0x1000

    claims = says(b"[]", Content_Length=str(2**62))
    refused_with(claims if declared else endless, "longer than 10000 bytes")
    assert sent < 2**26


def test_a_compressed_answer_is_refused_before_it_is_unpacked() -> None:
    refused_with(says(gzip.compress(b"[]"), Content_Encoding="gzip"), "compressed")


def test_an_idle_connection_that_was_closed_is_tried_once_more() -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        if len(asked) == 1:
            request.close_connection = True  # without a word
        else:
            says(b"[]")(request)

    with misbehaving(answer) as url:
        assert find_studies(Archive(url)) == ()
    assert len(asked) == 2


def test_nobody_there_is_told_from_no_such_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchiveError, match="no connection; look whether the archive runs"):
        find_studies(Archive(f"http://127.0.0.1:{free_port()}/dicom-web"))

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ArchiveError, match="no machine has that name"):
        find_studies(Archive("https://pacs.example/dicom-web"))


def test_certificates_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(says(b"[]"), certificate=LOOPBACK) as url:
        # neither variable is looked at
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(LOOPBACK))
        monkeypatch.setenv("CURL_CA_BUNDLE", str(LOOPBACK))
        with pytest.raises(ArchiveError, match=r"certificate is not believed.*--ca FILE"):
            find_studies(Archive(url))
        assert find_studies(Archive(url, ca_file=LOOPBACK)) == ()
    with misbehaving(says(b"[]")) as url, pytest.raises(ArchiveError, match="does not speak TLS"):
        find_studies(Archive(url.replace("http:", "https:")))


def test_neither_proxies_nor_netrc_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login u password p\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    seen: list[tuple[str, str | None]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.path, request.headers["Authorization"]))
        says(b"[]")(request)

    with misbehaving(answer) as url, misbehaving(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        find_studies(Archive(url))
        find_studies(Archive(url, environment_proxies=True))
    (path, given), (through_proxy, _) = seen
    assert path.startswith("/studies?") and given is None
    assert through_proxy.startswith(f"{url}/studies?")


def test_a_token_and_the_host_with_its_port_are_sent() -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.headers["Authorization"], request.headers["Host"]))
        says(b"[]")(request)

    with misbehaving(answer) as url:
        find_studies(Archive(url, Credentials(token="abc")))
    assert seen == [("Bearer abc", url.removeprefix("http://"))]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://pacs.example/dicom-web", "no address of a DICOMweb service"),
        ("pacs.example/dicom-web", "no address"),
        ("https://", "no address"),
        ("https://pacs.example:99999/", "no address"),
        ("https://pacs.example/?PatientID=1", "no address"),
        ("https://pacs.example/#x", "no address"),
        ("https://pacs.example/a b", "no address"),
        ("https://pacs.example/\r\nX: y", "no address"),
        ("https://[::1/", "no address"),
        ("https://kim:CANARY@pacs.example/", "credentials inside"),
        ("http://pacs.example/dicom-web", "not encrypted.*--unencrypted"),
        ("http://localhost.pacs.example/", "not encrypted"),
        ("http://10.0.0.7:8042/dicom-web", "not encrypted"),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Archive(url)
    assert "CANARY" not in str(caught.value)


def test_what_is_allowed() -> None:
    assert Archive("HTTPS://pacs.example/dicom-web//").url == "https://pacs.example/dicom-web"
    for loopback in ("http://localhost:8042", "http://127.0.0.1:8042", "http://[::1]:8042"):
        assert Archive(loopback).url == loopback
    assert Archive("http://10.0.0.7:8042", unencrypted=True).timeouts_s == (10.0, 60.0)
    assert "CANARY" not in repr(Archive("https://pacs.example", SECRET))


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_timeout_is_refused(timeout_s: float) -> None:
    with pytest.raises(InputError, match="timeout"):
        Archive("https://pacs.example", timeout_s=timeout_s)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    archive = Archive("https://pacs.example", ca_file=tmp_path / "ca.pem")
    with pytest.raises(InputError, match=r"ca\.pem: no such file"):
        find_studies(archive)
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(InputError, match=r"ca\.pem: holds no certificates"):
        find_studies(archive)


def test_without_dicomweb_client_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dicomweb_client", None)
    with pytest.raises(InputError, match=r"pip install 'boneviz\[dicom\]'"):
        find_studies(Archive("https://pacs.example"))


def test_dicomweb_client_is_not_imported_until_it_is_used() -> None:
    code = (
        "import sys, boneviz.cli, boneviz.commands.archive, boneviz.dicomweb, boneviz.dicomstore; "
        "print('dicomweb_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
