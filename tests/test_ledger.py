"""A chain of rows tells what was done to it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boneviz.errors import BonevizError, InputError, LedgerError
from boneviz.ledger import Ledger, Row, Seal

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def rows_of(n: int) -> list[Row]:
    """Return a chain of n rows, a minute apart."""
    rows: list[Row] = []
    for number in range(1, n + 1):
        previous = rows[-1].hash if rows else "0" * 64
        utc = NOON + timedelta(minutes=number)
        rows.append(Row.of(number, utc, {"case": f"P{number:02}", "dice": number / 8}, previous))
    return rows


FIVE = rows_of(5)
LINES = [row.line for row in FIVE]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(LINES))
    return Ledger.open(path)


def test_a_row_by_hand() -> None:
    row = Row.of(1, NOON, {"b": 1, "a": "é"}, "0" * 64)
    # sorted names, no blanks, ASCII; the hash is of the row without it
    text = (
        r'{"number":1,"payload":{"a":"\u00e9","b":1},"previous":"' + "0" * 64 + '",'
        '"utc":"2026-11-24T12:00:00.000Z"}'
    )
    assert row.hash == hashlib.sha256(text.encode()).hexdigest()
    assert row.line == f'{{"hash":"{row.hash}",{text[1:]}\n'.encode()


def test_rows_come_back_and_the_file_only_grows(tmp_path: Path) -> None:
    ledger = Ledger.new(tmp_path / "new" / "ledger.jsonl")
    assert (ledger.rows, ledger.seal) == ((), Seal(0, "0" * 64))
    before = b""
    for row in FIVE:
        utc = datetime.fromisoformat(row.utc)
        ledger = ledger.append(row.payload, utc=utc)
        content = ledger.path.read_bytes()
        assert content == before + row.line
        before = content
    assert ledger.rows == tuple(FIVE)
    assert Ledger.open(ledger.path) == ledger
    assert Ledger.open(ledger.path, sealed=Seal.parse(str(ledger.seal))) == ledger


def test_time_is_told_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Row.of(1, there, {}, "0" * 64) == Row.of(1, NOON, {}, "0" * 64)


@settings(max_examples=300)
@given(where=st.integers(0, sum(map(len, LINES)) - 1), new=st.integers(0, 255))
def test_any_byte_that_changes_is_found_in_its_row(
    tmp_path_factory: pytest.TempPathFactory, where: int, new: int
) -> None:
    content = bytearray(b"".join(LINES))
    old, content[where] = content[where], new
    path = tmp_path_factory.getbasetemp() / "byte.jsonl"
    path.write_bytes(bytes(content))
    if new == old:
        assert Ledger.open(path).rows == tuple(FIVE)
        return
    row = 1 + b"".join(LINES)[:where].count(b"\n")
    with pytest.raises(LedgerError, match=f"byte.jsonl: row {row} was changed"):
        Ledger.open(path)


@settings(max_examples=100)
@given(order=st.lists(st.integers(0, 4), max_size=7))
def test_rows_removed_inserted_or_moved_are_found_where_it_starts(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "order.jsonl"
    path.write_bytes(b"".join(LINES[n] for n in order))
    wrong = [place for place, n in enumerate(order) if n != place]
    if not wrong:  # the first rows: cut off at the end, which only a seal tells
        assert Ledger.open(path).rows == tuple(FIVE[: len(order)])
        return
    with pytest.raises(LedgerError, match=f"row {wrong[0] + 1} was (removed|replaced)"):
        Ledger.open(path)


def forged(number: int, previous: Row) -> bytes:
    return Row.of(number, NOON, {"case": "P99", "dice": 1.0}, previous.hash).line


TAMPERED = [
    pytest.param([0, 1, 3, 4], "row 3 was removed or moved: found row 4", id="removed"),
    pytest.param([1, 2, 3, 4], "row 1 was removed or moved: found row 2", id="first removed"),
    pytest.param([0, 2, 1, 3, 4], "row 2 was removed or moved: found row 3", id="swapped"),
    pytest.param([0, 1, 1, 2, 3, 4], "row 3 was replaced .* found row 2", id="repeated"),
]


@pytest.mark.parametrize(("order", "message"), TAMPERED)
def test_tampering_is_named(ledger: Ledger, order: list[int], message: str) -> None:
    ledger.path.write_bytes(b"".join(LINES[n] for n in order))
    with pytest.raises(BonevizError, match=f"ledger.jsonl: {message}"):
        Ledger.open(ledger.path)


def test_a_row_made_anew_with_its_hash_breaks_the_next(ledger: Ledger) -> None:
    ledger.path.write_bytes(b"".join([*LINES[:2], forged(3, FIVE[1]), *LINES[3:]]))
    with pytest.raises(LedgerError, match=f"row 4 does not follow .* names {FIVE[2].hash[:12]}"):
        Ledger.open(ledger.path)


def test_an_inserted_row_is_found_by_the_one_it_pushes_on(ledger: Ledger) -> None:
    ledger.path.write_bytes(b"".join([*LINES[:2], forged(3, FIVE[1]), *LINES[2:]]))
    with pytest.raises(LedgerError, match=r"row 4 was replaced .* found row 3"):
        Ledger.open(ledger.path)


def test_rows_cut_off_at_the_end_show_against_a_seal_only(ledger: Ledger) -> None:
    ledger.path.write_bytes(b"".join(LINES[:3]))
    assert len(Ledger.open(ledger.path).rows) == 3
    with pytest.raises(LedgerError, match="row 4 was removed, and all after it: found 3 rows"):
        Ledger.open(ledger.path, sealed=ledger.seal)


def test_a_chain_made_anew_shows_against_a_seal_only(ledger: Ledger) -> None:
    anew = Row.of(5, NOON, {"dice": 1.0}, FIVE[3].hash)
    ledger.path.write_bytes(b"".join([*LINES[:4], anew.line]))
    assert Ledger.open(ledger.path).seal.hash == anew.hash
    with pytest.raises(LedgerError, match="row 5 is not the one that was sealed"):
        Ledger.open(ledger.path, sealed=ledger.seal)


def test_a_sealed_ledger_may_have_grown(ledger: Ledger) -> None:
    grown = ledger.append({"more": True}, utc=NOON)
    assert Ledger.open(ledger.path, sealed=ledger.seal) == grown


@pytest.mark.parametrize("lost", [1, 2, *range(3, len(LINES[4]), 9), len(LINES[4]) - 1])
def test_a_half_written_row_leaves_those_before_it(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(LINES)[:-lost])
    ledger = Ledger.open(path)
    if lost == 1:  # all but the end of line
        assert (ledger.rows, ledger.torn) == (tuple(FIVE), 0)
    else:
        assert (ledger.rows, ledger.torn) == (tuple(FIVE[:4]), len(LINES[4]) - lost)
    grown = ledger.append({"more": True}, utc=NOON)
    assert Ledger.open(path) == grown
    assert grown.rows[:-1] == ledger.rows


def test_a_full_disk_leaves_the_rows_before(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_full)
        with pytest.raises(OSError, match=r"No space left.*ledger\.jsonl"):
            ledger.append({"more": True}, utc=NOON)
    assert Ledger.open(ledger.path).rows[:5] == tuple(FIVE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: Ledger.open(path).append({}, utc=NOON), id="grown"),
        pytest.param(lambda path: path.write_bytes(b"".join(LINES[:4])), id="cut"),
        pytest.param(lambda path: path.write_bytes(b"".join([*LINES[:4], LINES[3]])), id="other"),
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
    ],
)
def test_two_sessions_do_not_write_over_one_another(
    ledger: Ledger, change: Callable[[Path], object]
) -> None:
    change(ledger.path)
    content = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match="has changed since it was read"):
        ledger.append({"more": True}, utc=NOON)
    assert ledger.path.read_bytes() == content


def test_a_ledger_is_never_written_over(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="never written over"):
        Ledger.new(ledger.path)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\n", id="blank"),
        pytest.param(b"[]\n", id="a list"),
        pytest.param(b"{}\n", id="no names"),
        pytest.param(b'{"a":1}', id="an object without end of line"),
        pytest.param(b"\xff\xfe\n", id="no text"),
        pytest.param(json.dumps(dict.fromkeys(json.loads(LINES[0]), "1")).encode() + b"\n", id="x"),
        pytest.param(LINES[4].replace(b"0.625", b"NaN"), id="NaN"),
        pytest.param(LINES[4].replace(b":5,", b": 5,"), id="another spelling"),
    ],
)
def test_what_is_no_row_is_named(ledger: Ledger, line: bytes) -> None:
    ledger.path.write_bytes(b"".join([*LINES[:4], line]))
    with pytest.raises(LedgerError, match="row 5 was changed"):
        Ledger.open(ledger.path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: Ledger.open(path / "none.jsonl"), r"none\.jsonl: cannot be read"),
        (lambda _: Row.of(1, datetime(2026, 1, 1), {}, ""), "without a zone: expected UTC"),
        (lambda _: Row.of(1, NOON, {"dice": float("nan")}, ""), "JSON cannot hold .* null"),
        (lambda _: Row.of(1, NOON, {"at": NOON}, ""), "JSON cannot hold"),
        (lambda _: Seal.parse("5:abc"), "expected the number of a row, a colon and 64 digits"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, call: Callable[[Path], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(tmp_path)


def test_half_a_row_may_be_deep(ledger: Ledger) -> None:
    with ledger.path.open("ab") as stream:
        stream.write(b"[" * 50_000)
    again = Ledger.open(ledger.path)
    assert (again.rows, again.torn) == (ledger.rows, 50_000)
