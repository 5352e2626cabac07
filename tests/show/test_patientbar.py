"""The list of patients with its two buttons."""

from __future__ import annotations

import pytest

from boneviz.show.patientbar import PatientBar


class Page:
    """An explorer that goes to every case but those it cannot read."""

    def __init__(self, *case_ids: str, unread: str = "") -> None:
        self.unread, self.shown = unread, case_ids[0]
        self.asked: list[str] = []
        self.bar = PatientBar(case_ids, on_select=self.select)

    def select(self, case_id: str) -> None:
        self.asked.append(case_id)
        self.shown = self.shown if case_id == self.unread else case_id
        self.bar.show(self.shown)


def test_the_buttons_go_through_the_cohort_and_end_with_it() -> None:
    page = Page("P1", "P2", "P3")
    assert (page.bar.previous.disabled, page.bar.next.disabled) == (True, False)
    page.bar.next.click()
    assert (page.bar.previous.disabled, page.bar.next.disabled) == (False, False)
    page.bar.next.click()
    assert page.shown == page.bar.chosen.value == "P3"
    assert (page.bar.previous.disabled, page.bar.next.disabled) == (False, True)
    page.bar.next.click()  # as a page that has not heard yet would let one do
    page.bar.previous.click()
    assert page.asked == ["P2", "P3", "P2"]


def test_a_patient_is_chosen_from_the_list_and_showing_one_chooses_nothing() -> None:
    page = Page("P1", "P2", "P3")
    page.bar.chosen.value = "P3"
    assert page.asked == ["P3"]
    page.bar.show("P2")
    assert page.asked == ["P3"]
    assert page.bar.chosen.value == "P2"


def test_where_a_case_cannot_be_read_the_list_stays_with_the_one_shown() -> None:
    page = Page("P1", "P2", unread="P2")
    page.bar.next.click()
    assert (page.asked, page.bar.chosen.value, page.bar.next.disabled) == (["P2"], "P1", False)


@pytest.mark.parametrize("case_id", ["<b>P1</b>", "a=b", "P1, P2"])
def test_every_id_is_one_entry(case_id: str) -> None:
    page = Page("P0", case_id)
    page.bar.next.click()
    assert page.bar.chosen.options[1] == (case_id, case_id)
    assert page.shown == case_id


def test_one_patient_leads_nowhere() -> None:
    bar = Page("P1").bar
    assert bar.previous.disabled and bar.next.disabled
