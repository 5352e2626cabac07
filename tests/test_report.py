"""The report: one page that asks for nothing and says what the scores say."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import EXPERT_A, EXPERT_B, limb, write_tiny_cohort
from test_readings import give_predictions

from boneviz.cohort import Cohort
from boneviz.errors import LeakageError
from boneviz.report import write_report
from boneviz.volume import Volume


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    made = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    give_predictions(made)
    return made


def page_of(cohort: Cohort, tmp_path: Path) -> str:
    write_report(cohort, tmp_path / "report.html", progress=False)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def test_it_asks_for_nothing_outside_itself(cohort: Cohort, tmp_path: Path) -> None:
    page = page_of(cohort, tmp_path)
    tags = Tags(page).found
    assert {tag for tag, _ in tags} & {"script", "link", "iframe", "object"} == set()
    sources = [a[name] for _, a in tags for name in ("src", "href", "action") if name in a]
    assert sources
    assert all(str(source).startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page
    assert "@import" not in page


def test_pictures_show_the_lesion_with_its_contours(cohort: Cohort, tmp_path: Path) -> None:
    encoded = re.findall(r"data:image/png;base64,([^\"]+)", page_of(cohort, tmp_path))
    assert len(encoded) == 2 * 3  # two patients, three planes
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded[0]))).convert("RGB"))
    assert picture.shape == (340, 340, 3)  # 170 mm at 0.5 mm a pixel
    # Expert A is #3d9bff: its own pixels are bluer than anything in CT or PET
    red, green, blue = (picture[..., k].astype(int) for k in range(3))
    assert ((blue > 200) & (red < 110) & (green > 110)).sum() > 50


def test_the_matrix_gives_mean_sd_and_their_sum_and_difference(
    cohort: Cohort, tmp_path: Path
) -> None:
    page = page_of(cohort, tmp_path)
    # the models copy their experts, so that both own cells are 1 without spread
    assert (
        page.count('<td class="own">1.00 ± 0.00 (n 2)')
        + page.count("<td class=own>1.00 ± 0.00 (n 2)")
        >= 2
    )
    assert "1.00 to 1.00; median 1.00 [1.00, 1.00]; worst case 1.00" in page
    assert "With n = 2 no p below 0.05 is possible" in page


def test_names_are_text(cohort: Cohort, tmp_path: Path) -> None:
    hostile = Cohort(
        "<script>alert(1)</script>", cohort.root, cohort.readers, cohort.cases, licence="<b>x</b>"
    )
    page = page_of(hostile, tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page


def test_phantom_models_on_real_patients_carry_a_caution(cohort: Cohort, tmp_path: Path) -> None:
    real = Cohort("Real", cohort.root, cohort.readers, cohort.cases, synthetic=False)
    assert "learned from synthetic phantoms only" in page_of(real, tmp_path)
    assert "learned from synthetic phantoms only" not in page_of(cohort, tmp_path)


def test_a_leaking_model_leaves_the_old_report_alone(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    give_predictions(cohort, trained_on=frozenset({"P02"}))
    with pytest.raises(LeakageError, match="patient P02"):
        write_report(cohort, tmp_path / "report.html", progress=False)
    assert (tmp_path / "report.html").read_text() == "old"


def test_an_expert_who_saw_nothing_is_said_to_have_missed(cohort: Cohort, tmp_path: Path) -> None:
    from boneviz.nifti import read_case, write_volume

    case = read_case(cohort.cases[0])
    empty = Volume(np.zeros(case.ct.grid.shape, dtype=bool), case.ct.grid, "label")
    write_volume(empty, cohort.cases[0].masks[EXPERT_B])
    page = page_of(cohort, tmp_path)
    assert "1 missed" in page
    assert EXPERT_A.name in page


def test_it_says_what_goes_beyond_the_matrix(cohort: Cohort, tmp_path: Path) -> None:
    page = page_of(cohort, tmp_path)
    text = re.sub(r"<[^>]+>", " ", page)
    # two patients: the primary endpoint with its smallest p, 2 / 2^2
    assert re.search(r"primary +Dice +2 +0 .* 0\.500 +0\.500", text)
    # the models copy their experts, limits of agreement included
    assert re.search(r"Model A +Expert A +2 +1\.00 +1\.00 +1\.00 +0\.00", text)


def test_it_lists_where_the_experts_differ(cohort: Cohort, tmp_path: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", page_of(cohort, tmp_path))
    # expert B draws 6 mm further in: one rim of expert A in either patient, beyond 5 mm at corners
    assert len(re.findall(r"Expert A +extension +(soft tissue|bone) +\d+\.\d", text)) == 2
    assert text.count("Where Expert A and Expert B differ.") == 2
