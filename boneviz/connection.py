"""A connection to one address and to no other, bounded in time and size; it says why it fails."""

from __future__ import annotations

import io
import ipaddress
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from boneviz.credentials import Credentials
from boneviz.errors import MALFORMED, ArchiveError, BonevizError, InputError

__all__ = ["MAX_ANSWER_BYTES", "Archive", "connect", "pieces", "refusals"]

#: of lists and reports; what goes into files has its own bound
MAX_ANSWER_BYTES = 2**26
PIECE_BYTES = 2**18
CONNECT_S = 10.0
#: on average, once `timeout_s` have passed
SLOWEST_BYTES_PER_S = 1000

STATUS = {
    400: "it does not understand the request; a filter may be one that it does not know",
    401: "it wants other credentials: see --credentials",
    403: "these credentials may not do that: ask who runs the archive",
    404: "there is nothing at that address: expected the root of the DICOMweb service, which for "
    "Orthanc ends in /dicom-web",
    406: "it does not give DICOM files as multipart/related over WADO-RS",
    413: "that is more than it takes at once",
    415: "it does not take DICOM files as multipart/related over STOW-RS",
    429: "it is asked too often: wait, then run the same command again",
    503: "it is busy: wait, then run the same command again",
    504: "it is busy: wait, then run the same command again",
}


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive's DICOMweb service, and how it is spoken to.

    Parameters
    ----------
    url : the root of the service, such as ``https://pacs.hospital.example/dicom-web``
    credentials : who asks, if the archive wants to know
    ca_file : certificates (PEM) of the authorities that are believed, instead of the public ones
    timeout_s : how long an archive may be silent, how long it may take until the head of its
        answer is there, and the first moment at which an answer that only trickles is given up
        (below 1 kB/s on average)
    unencrypted : whether ``http://`` is allowed to another machine: names of patients and
        credentials are then read by whoever is on the way
    environment_proxies : whether to go through the proxies that the environment names; by
        default nothing but the archive itself is contacted

    Raises
    ------
    InputError
        The address is none, carries credentials or a query, or is not encrypted.
    """

    url: str
    credentials: Credentials | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout_s: float = 60.0
    unencrypted: bool = False
    environment_proxies: bool = False

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        object.__setattr__(self, "url", parts.geturl().rstrip("/"))
        if parts.scheme == "http" and not self.unencrypted and not _loopback(parts.hostname or ""):
            raise InputError(
                f"{self.url}: http:// is not encrypted, and patients' names and your credentials "
                "would be read on the way; give the https:// address, or allow it "
                "(--unencrypted) on a network that you trust"
            )
        if not 0 < self.timeout_s <= 3600:
            raise InputError(f"a timeout of {self.timeout_s} s: expected above 0, at most 3600")

    @property
    def timeouts_s(self) -> tuple[float, float]:
        """How long to wait for a connection, and for the next bytes."""
        return min(CONNECT_S, self.timeout_s), self.timeout_s


def _parts(url: str) -> SplitResult:
    """Return the parts of an address that is nothing but one."""
    if "@" in url:
        # not repeated: there is a password in it
        raise InputError(
            "the archive's address has an @, as with credentials inside: they would stay in the "
            "shell's history; give them by --credentials or the environment"
        )
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not re.fullmatch(r"[!-~]+", url) or re.search(r"[?#\\]", url):
        raise InputError(
            f"{url!r}: no address of a DICOMweb service; expected such as "
            "https://pacs.hospital.example/dicom-web"
        )
    return parts


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_installed() -> None:
    """Raise an `InputError` that says how to install it where dicomweb-client is lacking."""
    try:
        import dicomweb_client  # noqa: F401
        import requests  # noqa: F401
    except ImportError as error:
        raise InputError(
            "an archive needs dicomweb-client, which is not installed: pip install 'boneviz[dicom]'"
        ) from error


def connect(archive: Archive) -> Any:
    """Return a `requests.Session` that reaches the archive and follows no redirect.

    Neither ``.netrc`` nor variables of the environment are looked at. Answers are held to
    `MAX_ANSWER_BYTES`, except those asked for with ``stream=True``: read these by `pieces`. A GET
    whose connection breaks before the answer is tried once more.

    Raises
    ------
    InputError
        dicomweb-client is not installed, or `ca_file` holds no certificates.
    """
    _require_installed()
    if archive.ca_file is not None:
        _require_certificates(archive.ca_file)
    import requests

    session: Any = requests.Session()
    session.trust_env = False
    session.verify = True if archive.ca_file is None else str(archive.ca_file)
    session.headers.update({"Accept": "application/dicom+json", "Accept-Encoding": "identity"})
    if archive.credentials is not None and archive.credentials.token:
        session.headers["Authorization"] = f"Bearer {archive.credentials.token}"
    elif archive.credentials is not None:
        given = archive.credentials
        session.auth = (given.user.encode(), given.password.encode())
    if archive.environment_proxies:
        session.proxies = requests.utils.get_environ_proxies(archive.url)
    session.adapters.clear()
    parts = urlsplit(archive.url)
    session.mount(f"{parts.scheme}://{parts.netloc}/", _Bounded(_adapter(), archive))
    return session


def _adapter() -> Any:
    """Return what `requests` sends by, with a deadline for the head of each answer."""
    import requests
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        def getresponse(self) -> Any:
            return _in_time(self, super().getresponse)

    class Encrypted(HTTPSConnection):
        def getresponse(self) -> Any:
            return _in_time(self, super().getresponse)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Encrypted

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *given: Any, **options: Any) -> None:
            super().init_poolmanager(*given, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *given: Any, **options: Any) -> Any:
            manager = super().proxy_manager_for(*given, **options)
            manager.pool_classes_by_scheme = pools
            return manager

    pools = {"http": PlainPool, "https": EncryptedPool}
    return Adapter()


def _in_time(connection: Any, answer: Callable[[], Any]) -> Any:
    """Return the answer whose head comes within the connection's timeout, all of it.

    A socket's own timeout begins anew with each byte, and with each ``100 Continue``.
    """
    late = threading.Event()
    sock = connection.sock

    def end() -> None:
        late.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(connection.timeout, end)
    timer.daemon = True
    timer.start()
    try:
        found = answer()
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError  # also where the end of the bytes was taken for the end of the head
    return found


def _require_certificates(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected certificates as PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise InputError(
            f"{path}: holds no certificates as PEM; expected the authority's"
        ) from None


class _Bounded:
    """What `requests` sends by: it refuses redirects, and reads no answer beyond its bound."""

    def __init__(self, adapter: Any, archive: Archive) -> None:
        self._adapter = adapter
        self._archive = archive

    def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        # dicomweb-client names the host without its port
        request.headers.pop("Host", None)
        # and writes wildcards so that Orthanc 1.10 does not see them
        address, mark, query = request.url.partition("?")
        request.url = address + mark + query.replace("%2A", "*")
        response = self._sent(request, options)
        if 300 <= response.status_code < 400:
            response.close()
            raise ArchiveError(
                f"{self._archive.url}: answered by a redirect to "
                f"{_site(response.headers.get('Location', ''))} (status {response.status_code}), "
                "which is not followed: nothing but the given address is contacted; give the "
                "archive's own address"
            )
        if not stream or response.status_code != 200:
            with response:
                body = b"".join(pieces(response, self._archive, most=MAX_ANSWER_BYTES))
            response.raw = io.BytesIO(body)
        kind = response.headers.get("Content-Type", "")
        if "json" in kind:
            # dicomweb-client knows them without "; charset=utf-8" only
            response.headers["Content-Type"] = kind.partition(";")[0].strip()
        return response

    def _sent(self, request: Any, options: dict[str, Any]) -> Any:
        import requests

        try:
            return self._adapter.send(request, stream=True, **options)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            # the archive may have closed an idle connection at this very moment
            if request.method != "GET":
                raise
            return self._adapter.send(request, stream=True, **options)

    def close(self) -> None:
        self._adapter.close()


def _site(location: str) -> str:
    """Return scheme and host of a stranger's address, nothing that could be an identity."""
    found = re.match(r"https?://[A-Za-z0-9.\-]{1,100}(:\d{1,5})?(?=[/?#]|$)", location)
    return found[0] if found else "another place"


def pieces(response: Any, archive: Archive, *, most: int) -> Iterator[bytes]:
    """Give the body of an answer as it comes, up to `most` bytes.

    Raises
    ------
    ArchiveError
        It is longer, compressed though that was not asked for, or only trickles.
    """
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise ArchiveError(
            f"{archive.url}: its answer is compressed, though asked not to be; switch HTTP "
            "compression off in the archive or the proxy before it"
        )
    declared = response.headers.get("Content-Length", "0")
    received = int(declared) if declared.isdigit() and len(declared) < 20 else 0
    if received <= most:
        received, begun = 0, time.monotonic()
        while received <= most and (piece := response.raw.read1(PIECE_BYTES, decode_content=False)):
            received += len(piece)
            if received <= most:
                yield piece
            waited_s = time.monotonic() - begun
            if waited_s > archive.timeout_s and received < waited_s * SLOWEST_BYTES_PER_S:
                raise ArchiveError(
                    f"{archive.url}: sent {received} bytes in {waited_s:.0f} s, below "
                    f"{SLOWEST_BYTES_PER_S} a second; try again when it is less busy"
                )
    if received > most:
        raise ArchiveError(
            f"{archive.url}: its answer is longer than {most} bytes, which is the most that is "
            "read; ask for less, or look at what runs at that address"
        )


@contextmanager
def refusals(archive: Archive, doing: str) -> Iterator[None]:
    """Turn whatever goes wrong while `doing` into an `ArchiveError` that says what to do.

    What other libraries say is not repeated: it quotes the query, and so a patient's id.
    """
    import requests
    import urllib3

    log = logging.getLogger("dicomweb_client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except BonevizError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ArchiveError(f"{archive.url}: {doing}: {_why(error, archive)}") from None
    except (*MALFORMED, LookupError, SyntaxError) as error:  # the last is XML's ParseError
        raise ArchiveError(
            f"{archive.url}: {doing}: its answer cannot be understood ({type(error).__name__}); "
            "expected that of a DICOMweb service, look at what runs at that address"
        ) from None
    finally:
        log.setLevel(before)


def _why(error: Exception, archive: Archive) -> str:
    """Say what happened, and what to do."""
    import requests
    import urllib3

    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        advice = STATUS.get(status, "look at the archive's log")
        return f"refused with status {status}; {advice}"
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return (
            "its answer is no JSON; expected that of a DICOMweb service, look at what runs at "
            "that address (a page to log in?)"
        )
    if isinstance(error, requests.exceptions.SSLError):
        return (
            "its certificate is not believed, or it does not speak TLS; give the hospital's own "
            "authority by --ca FILE, and look whether the name in the address is the certificate's"
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that the environment names does not let through; look at HTTPS_PROXY"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"no answer within {archive.timeout_s:g} s; try again, or give a longer --timeout"
    if isinstance(error, requests.ConnectionError) and "Failed to resolve" in str(error):
        return "no machine has that name; look at the address"
    if isinstance(error, requests.ConnectionError) and "Failed to establish" in str(error):
        return "no connection; look whether the archive runs, and at host and port"
    return "the connection broke off; run the same command again to go on"
