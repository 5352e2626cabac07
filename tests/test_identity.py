"""Study ids: the same by one key, told by nothing without it; keys and tables as files."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from boneviz.errors import InputError
from boneviz.identity import (
    Key,
    StudyIds,
    default_key_path,
    read_id_table,
    read_key,
    write_key,
)

KEY = Key(bytes(range(32)))


def test_an_id_is_the_hmac_of_the_patients_id() -> None:
    # each text with its length before it: 7 bytes "patient", 2 bytes "P1"
    message = (7).to_bytes(8, "big") + b"patient" + (2).to_bytes(8, "big") + b"P1"
    digest = hmac.new(bytes(range(32)), message, hashlib.sha256).digest()
    assert KEY.study_id("P1") == "P" + base64.b32encode(digest).decode()[:10]
    assert KEY.study_id(" P1 ") == KEY.study_id("P1")


def test_another_key_or_patient_gives_another_id() -> None:
    ids = {KEY.study_id("P1"), KEY.study_id("P2"), Key.new().study_id("P1")}
    assert len(ids) == 3
    assert KEY.cohort_id != Key.new().cohort_id
    assert KEY.mark("ab", "c") != KEY.mark("a", "bc")


def test_a_key_is_never_printed() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    assert "000102" not in repr(StudyIds(KEY, {"P1": "A"})) and "P1" not in repr(StudyIds(KEY))


def test_a_key_as_a_file_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    path = default_key_path(tmp_path / "cohort")
    assert path == tmp_path.resolve() / "cohort.key"
    write_key(KEY, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == KEY
    with pytest.raises(InputError, match="never written over"):
        write_key(Key.new(), path)
    assert read_key(path) == KEY


@pytest.mark.parametrize(
    "content", [b"", b"boneviz-key-1", b"boneviz-key-1 12", b"other " + b"0" * 64, b"\xff\xfe"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError, match=r"key: (not a key of boneviz|cannot be read as a key)"):
        read_key(tmp_path / "key")


def test_no_key_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; give the key .*--key"):
        read_key(tmp_path / "none")
    with pytest.raises(InputError, match="a key of 3 bytes: expected 32"):
        Key(b"abc")


def test_a_table_gives_ids_and_who_is_not_in_it_has_none(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("\ufeffstudy_id,patient_id\nS01, Doe-1 \nS02,Doe-2\n", encoding="utf-8")
    ids = StudyIds(KEY, read_id_table(path))
    assert [ids.of(p) for p in ("Doe-1", " Doe-2", "Doe-3", "", " ")] == [
        "S01",
        "S02",
        None,
        None,
        None,
    ]
    assert StudyIds(KEY).of("  ") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("patient,study\nDoe,S1\n", "expected the columns patient_id and study_id"),
        ("patient_id,study_id\n", "expected the columns patient_id and study_id"),
        ("patient_id,study_id\nDoe,\n", "line 2: expected a patient_id, and a study_id"),
        ("patient_id,study_id\nDoe,../up\n", "line 2: expected a patient_id, and a study_id"),
        ("patient_id,study_id\nDoe,S1\nDoe,S2\n", "line 3: a patient_id that stands above"),
        ("patient_id,study_id\nDoe,S1\nRoe,s1\n", "lines 2 and 3: one study_id, two patients"),
        ("patient_id,study_id\nDoe\n", "line 2: expected a patient_id, and a study_id"),
    ],
)
def test_a_table_that_is_none_is_refused_by_line_and_names_nobody(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(InputError, match=says) as refused:
        read_id_table(tmp_path / "ids.csv")
    assert "Doe" not in str(refused.value)
