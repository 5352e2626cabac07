"""How one proves to an archive who one is: from a file or the environment, and never shown."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from boneviz.errors import InputError

__all__ = ["Credentials", "read_credentials"]

USER, PASSWORD, TOKEN = "BONEVIZ_ARCHIVE_USER", "BONEVIZ_ARCHIVE_PASSWORD", "BONEVIZ_ARCHIVE_TOKEN"
EXPECTED = 'user = "NAME" and password = "...", or token = "..."'
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password (HTTP Basic), or a token (HTTP Bearer); neither is printed.

    Raises
    ------
    InputError
        Both, neither, a half, or a character that no header carries.
    """

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if bool(self.token) == bool(self.user or self.password) or (
            bool(self.user) != bool(self.password)
        ):
            raise InputError(
                "credentials: expected a user with a password, or a token, and not both"
            )
        if ":" in self.user or not (self.user + self.password).isprintable():
            raise InputError(
                "credentials: a user has no colon, and neither user nor password a line break or "
                "another control character; look at how they were stored"
            )
        if self.token and not (self.token.isascii() and self.token.isprintable()):
            raise InputError(
                "credentials: the token has a character that no HTTP header carries, such as a "
                "line break; look at how it was stored"
            )


def read_credentials(
    path: str | Path | None = None, *, environment: Mapping[str, str]
) -> Credentials | None:
    """Return the credentials of a file, else those of the environment, or None.

    Parameters
    ----------
    path : TOML that only its owner can read, with ``user`` and ``password``, or ``token``
    environment : usually ``os.environ``; BONEVIZ_ARCHIVE_USER and BONEVIZ_ARCHIVE_PASSWORD, or
        BONEVIZ_ARCHIVE_TOKEN

    Raises
    ------
    InputError
        No such file, one that others can read, or one that holds something else. Nothing of what
        it holds is repeated.
    """
    if path is None:
        found = {name: environment.get(name, "") for name in (USER, PASSWORD, TOKEN)}
        if not any(found.values()):
            return None
        try:
            return Credentials(found[USER], found[PASSWORD], found[TOKEN])
        except InputError as error:
            raise InputError(f"{USER}, {PASSWORD}, {TOKEN} of the environment: {error}") from None
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected one with {EXPECTED}")
    if path.stat().st_mode & OTHERS:
        raise InputError(
            f"{path}: other users of this machine can read it, and it holds credentials; "
            f"chmod 600 {path}"
        )
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        # the text of the error quotes the line
        raise InputError(f"{path}: not TOML in UTF-8; expected {EXPECTED}") from None
    if not held or set(held) - {"user", "password", "token"}:
        raise InputError(f"{path}: holds other keys; expected {EXPECTED}")
    if not all(isinstance(value, str) for value in held.values()):
        raise InputError(f"{path}: a value is no text; expected {EXPECTED}")
    try:
        return Credentials(**held)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
