"""Messages can be read, whatever stands in the file that they quote."""

from __future__ import annotations

from boneviz.errors import BonevizError, ImageFileError


def test_a_message_is_as_it_was_given() -> None:
    said = "patient 017: PET in µ\u2009mm\u0301 \u4e2d\nexpected mm"
    # U+2009, a thin space, is none that is printed
    assert str(ImageFileError(said)) == said.replace("\u2009", "\\u2009")


def test_what_a_terminal_obeys_is_spelled_out() -> None:
    assert str(BonevizError("a\x1b[31mb\x00\r\u202e\ud800")) == (r"a\x1b[31mb\x00\r\u202e\ud800")


def test_the_middle_of_a_long_message_is_left_out() -> None:
    said = str(BonevizError("ct.nii: " + "x" * 100_000 + "; copy it again"))
    assert said.startswith("ct.nii: xxx")
    assert " [...] " in said
    assert said.endswith("xxx; copy it again")
    assert len(said) == 2000 + len(" [...] ")
