"""One object out of a multipart answer, however it is cut, and nothing else."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boneviz.errors import InputError
from boneviz.multipart import write_object

KIND = 'multipart/related; type="application/dicom"; boundary="a=b c"'
HEAD = b"--a=b c\r\nContent-Type: application/dicom\r\nContent-Length: 9\r\n\r\n"
END = b"\r\n--a=b c--"
# nearly the boundary, twice, and what ends a header
OBJECT = b"\r\n--a=b\r\n\r\n\x00--a=b c\r\n--a=b d"


def object_of(body: bytes, kind: str = KIND) -> bytes:
    out = io.BytesIO()
    write_object(iter([body]), kind, out)
    return out.getvalue()


@given(cuts=st.lists(st.integers(0, len(HEAD + OBJECT + END) + 6), max_size=12))
def test_an_object_comes_out_whole_wherever_the_body_is_cut(cuts: list[int]) -> None:
    body = b"\r\n" + HEAD + OBJECT + END + b"\r\nend"
    edges = sorted({0, *cuts, len(body)})
    out = io.BytesIO()
    write_object((body[a:b] for a, b in pairwise(edges)), KIND, out)
    assert out.getvalue() == OBJECT


def test_an_object_without_an_envelope_is_taken() -> None:
    assert object_of(OBJECT, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1") == OBJECT


def test_a_part_without_a_header_of_its_own_is_taken() -> None:
    assert object_of(b"--a=b c\r\n\r\n" + OBJECT + END) == OBJECT


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"<html>", "text/html", "not a DICOM object"),
        (b"<html>", "", "not a DICOM object"),
        (HEAD + OBJECT + END, "multipart/related", "not a DICOM object"),
        (HEAD + OBJECT + END, "multipart/related; boundary=" + "b" * 71, "71 characters"),
        (b"", KIND, "none begins"),
        (b"x" * 2**17, KIND, "none begins"),
        (b"--a=b c--", KIND, "without an end of its header"),
        (b"--a=b c\r\nX: " + b"x" * 2**17, KIND, "without an end of its header"),
        (HEAD.replace(b"dicom", b"json") + b"[]" + END, KIND, "not application/dicom"),
        (HEAD + OBJECT, KIND, "cut off"),
        (HEAD + OBJECT + b"\r\n--a=b c", KIND, "cut off"),
        (HEAD + OBJECT + b"\r\n" + HEAD + OBJECT + END, KIND, "several objects"),
    ],
)
def test_anything_else_is_refused(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        object_of(body, kind)


class Counted(io.RawIOBase):
    """Somewhere to write to that keeps nothing."""

    n_bytes = 0

    def write(self, chunk: object) -> int:
        self.n_bytes += len(chunk)  # type: ignore[arg-type]
        return len(chunk)  # type: ignore[arg-type]


def test_memory_holds_no_more_than_a_few_chunks() -> None:
    def body() -> Iterator[bytes]:
        yield HEAD
        for n in range(256):
            yield bytes([n]) * 2**18
        yield END

    out = Counted()
    tracemalloc.start()
    write_object(body(), KIND, out)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.n_bytes == 2**26
    assert peak < 2**22  # 4 MiB of 64
