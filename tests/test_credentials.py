"""Credentials come from a file of one's own or the environment, and are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from boneviz.credentials import Credentials, read_credentials
from boneviz.errors import InputError


def file_of(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "archive.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_file_gives_user_and_password_or_a_token(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'user = "kim"\npassword = "Ä b"\n')
    assert read_credentials(path, environment={}) == Credentials("kim", "Ä b")
    path = file_of(tmp_path, 'token = "abc.def"\n')
    # the file is asked first
    assert read_credentials(path, environment={"BONEVIZ_ARCHIVE_TOKEN": "x"}) == Credentials(
        token="abc.def"
    )


def test_the_environment_gives_them_and_nothing_gives_none() -> None:
    both = {"BONEVIZ_ARCHIVE_USER": "kim", "BONEVIZ_ARCHIVE_PASSWORD": "p"}
    assert read_credentials(environment=both) == Credentials("kim", "p")
    assert read_credentials(environment={"BONEVIZ_ARCHIVE_TOKEN": "t"}) == Credentials(token="t")
    assert read_credentials(environment={"HOME": "/root"}) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('user = "CANARY"', "a user with a password"),
        ('user = "u"\npassword = "p"\ntoken = "CANARY"', "not both"),
        ("", "holds other keys"),
        ('passwort = "CANARY"', "holds other keys"),
        ("password = CANARY", "not TOML"),
        ('user = "u"\npassword = 12', "no text"),
        ('user = "a:CANARY"\npassword = "p"', "no colon"),
        ('user = "u"\npassword = "CANARY\\n"', "line break"),
        ('token = "CANARY\\r\\nX: y"', "no HTTP header carries"),
        ('token = "CANARYÄ"', "no HTTP header carries"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(tmp_path: Path, text: str, said: str) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(InputError, match=said) as caught:
        read_credentials(path, environment={})
    assert str(path) in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_a_half_in_the_environment_is_named() -> None:
    with pytest.raises(InputError, match=r"BONEVIZ_ARCHIVE_PASSWORD.*a user with a password"):
        read_credentials(environment={"BONEVIZ_ARCHIVE_USER": "kim"})


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'token = "t"', mode=0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_credentials(path, environment={})
    with pytest.raises(InputError, match="no such file"):
        read_credentials(tmp_path / "other.toml", environment={})


def test_they_are_not_printed() -> None:
    shown = repr(Credentials("CANARY-U", "CANARY-P")) + repr(Credentials(token="CANARY-T"))
    assert "CANARY" not in shown
