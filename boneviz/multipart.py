"""The one DICOM object of a multipart answer, written to a file as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message
from typing import BinaryIO

from boneviz.errors import InputError

__all__ = ["write_object"]

DICOM = "application/dicom"
MAX_HEADER_BYTES = 2**16
# of RFC 2046
MAX_BOUNDARY = 70


def write_object(chunks: Iterable[bytes], content_type: str, out: BinaryIO) -> None:
    """Write the object of an answer to WADO-RS's Retrieve Instance; memory holds one chunk.

    The body is ``multipart/related`` with one part of ``application/dicom`` (PS3.18, 10.4.1), or,
    from servers that leave the envelope out, ``application/dicom`` itself.

    Parameters
    ----------
    chunks : the body, cut anywhere
    content_type : of the answer

    Raises
    ------
    InputError
        The body is something else, is cut off, or holds no or several objects.
    """
    header = _parsed(content_type)
    if header.get_content_type() == DICOM:
        for chunk in chunks:
            out.write(chunk)
        return
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise InputError("not a DICOM object; expected multipart/related with a boundary")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise InputError(f"a boundary of {len(boundary)} characters; expected 1 to 70 of ASCII")
    stream = iter(chunks)
    delimiter = b"\r\n--" + boundary.encode("ascii")
    # the first delimiter may stand at the very beginning
    rest = _after(b"\r\n", stream, delimiter, what="a part")
    rest = _part_begins(rest, stream)
    while (at := rest.find(delimiter)) < 0:
        # the end may hold half of a delimiter
        keep = len(delimiter) - 1
        out.write(rest[:-keep])
        rest = rest[-keep:]
        more = next(stream, None)
        if more is None:
            raise InputError("a DICOM object that is cut off; run the same command again")
        rest += more
    out.write(rest[:at])
    rest = rest[at + len(delimiter) :]
    while len(rest) < 2 and (more := next(stream, None)) is not None:
        rest += more
    if not rest.startswith(b"--"):
        raise InputError("several objects, or one that is cut off, where one was asked for")
    for _ in stream:
        pass  # so that the connection is free for the next


def _parsed(content_type: str) -> Message:
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return header


def _after(rest: bytes, stream: Iterable[bytes], mark: bytes, *, what: str) -> bytes:
    """Return what follows `mark`, which must come soon."""
    stream = iter(stream)
    while mark not in rest:
        chunk = next(stream, None)
        if chunk is None or len(rest) > MAX_HEADER_BYTES:
            raise InputError(f"{what} is expected, and none begins; look at the archive's log")
        rest += chunk
    return rest.partition(mark)[2]


def _part_begins(rest: bytes, stream: Iterable[bytes]) -> bytes:
    """Pass the part's own header, which must say that DICOM follows."""
    head = rest
    stream = iter(stream)
    while b"\r\n\r\n" not in head:
        chunk = next(stream, None)
        if chunk is None or len(head) > MAX_HEADER_BYTES:
            raise InputError("a part without an end of its header; look at the archive's log")
        head += chunk
    said, _, rest = head.partition(b"\r\n\r\n")
    for line in said.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            if _parsed(value.strip()).get_content_type() != DICOM:
                raise InputError(f"a part that is not {DICOM}; look at the archive's log")
            return rest
    return rest
