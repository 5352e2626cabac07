"""The report: one page that asks for nothing and says what the scores say."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import EXPERT_A, EXPERT_B, limb, put_into_counts, write_tiny_cohort
from test_readings import give_predictions, give_variants

from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.errors import InputError, LeakageError
from boneviz.folds import Folds
from boneviz.readings import read_readings
from boneviz.regions import regions, regions_table
from boneviz.report import report_page, write_report
from boneviz.scoretable import write_table
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
    sources = [str(a[name]) for _, a in tags for name in ("src", "href", "action") if name in a]
    pictures = [source for source in sources if not source.startswith("#")]
    assert pictures
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    # the table of contents leads to what is on the page
    anchors = {str(a["id"]) for _, a in tags if "id" in a}
    assert {source[1:] for source in sources if source.startswith("#")} == anchors
    assert {"cohort", "folds", "matrix", "patients", "settings", "caveats"} <= anchors
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


@pytest.fixture
def ten_readers(cohort: Cohort) -> Cohort:
    return give_variants(cohort)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_it_shows_the_folds(cohort: Cohort, tmp_path: Path) -> None:
    assert "No folds were dealt in this cohort" in page_of(cohort, tmp_path)
    Folds({"P01": 1, "P02": 0, "P99": 0}, seed=5).save(cohort.root / "folds.json")
    text = text_of(page_of(cohort, tmp_path))
    # boxes of P01 are 32 and 20 mm wide, 10 x 10 x 6 and 6 x 6 x 4 voxels of 3 x 3 x 6 mm: 32.4 and
    # 7.8 mL; those of P02 36 and 24 mm, 12 x 12 x 6 and 8 x 8 x 4 voxels: 46.7 and 13.8 mL
    assert re.search(r"Fold Held out n Learned from .* 0 P02, P99 2 1 30\.2 30\.2 30\.2 ", text)
    assert " 1 P01 1 2 20.1 20.1 20.1 " in text
    assert "In folds or cohort, not in both: P99." in text


def test_ten_readers_and_what_fusion_gains(ten_readers: Cohort, tmp_path: Path) -> None:
    page = page_of(ten_readers, tmp_path)
    text = text_of(page)
    assert "What fusion gains" in text
    # the fused models copy their experts; of CT alone one case of two is missed: 1 - (0 + 1) / 2
    assert re.search(
        r"Expert A CT only 2 0 / 1 1\.000 0\.500 \+0\.500 \[\+0\.000,.\+1\.000\] 0\.707", text
    )
    assert "Ablations and repeats Model A (CT only)" in text
    assert "Control, one expert and two seeds." in text
    # scores of variants stand in no patient's table, and pictures show four readers
    assert not re.search(r"<td>Model A \(CT only\)</td><td>\d+\.\d", page)
    assert page.count("<i style=") == 4
    assert page.count("<svg") == 2


def test_curves_and_cards_of_models(cohort: Cohort, tmp_path: Path) -> None:
    models = cohort.root / "models"
    models.mkdir()
    card = {
        "reader": {"name": "<b>Model A</b>"},
        "net": {"architecture": "unet", "filters": [4, 8]},
        "fuse": {"modality": "fused"},
        "spacing_mm": [2.5, 2.5, 2.5],
        "patch": [64, 64, 64],
        "trained_on": ["P02"],
        "settings": {"steps": 900, "batch": 2, "rate": 0.002, "seed": 7},
        "boneviz": "0.1.0",
        "torch": "<script>",
    }
    for fold in (0, 1):
        (models / f"model_a_fold{fold}.json").write_text(json.dumps(card | {"fold": fold}))
    (models / "other.json").write_text("[]")
    log = {"loss": [1.2, 0.8, 0.5], "watched": [[2, 0.4], [3, 0.6]]}
    (models / "model_a_fold0.log.json").write_text(json.dumps(log))
    (models / "model_b_fold0.log.json").write_text(json.dumps({"loss": [1.0]}))
    page = page_of(cohort, tmp_path)
    text = text_of(page)
    # both folds in one row, as all else is the same
    assert "&lt;b&gt;Model A&lt;/b&gt; fused 0, 1 unet (4, 8) 2.5 x 2.5 x 2.5" in text
    assert "900 2 0.002 7 1 boneviz 0.1.0, torch &lt;script&gt;" in text
    assert "other.json: not a model&#x27;s card" in text
    assert "<b>Model" not in page and "<script" not in page
    # patients, the loss of two models, and what was watched of one
    assert page.count("<svg") == 1 + 2 + 1
    (models / "model_b_fold0.log.json").write_text("{}")
    assert "not the log of a fit" in page_of(cohort, tmp_path)


def test_hostile_names_are_text_in_tables_and_plots(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>"
    made = write_tiny_cohort(tmp_path / "bad", [limb(bad)])
    text = (made.root / "cohort.toml").read_text()
    (made.root / "cohort.toml").write_text(text.replace('"Expert A"', f'"{bad}"'))
    (made.root / bad / "expert_a.nii.gz").rename(
        made.root / bad / "img_src_x_onerror_alert_1.nii.gz"
    )
    page = page_of(Cohort.open(made.root), tmp_path)
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 5


def test_many_patients_stay_below_five_megabytes(
    ten_readers: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boneviz import report

    # as if pictures had the room of one patient among as many as fill the page
    sizes = []
    for room in (3_600_000, 60_000, 2_000):
        monkeypatch.setattr(report, "PICTURES_BYTES", room)
        page = page_of(ten_readers, tmp_path)
        encoded = re.findall(r"data:image/png;base64,([^\"]+)", page)
        assert sum(map(len, encoded)) <= room
        sizes.append(len(encoded))
    assert sizes[0] == 6
    assert sizes[2] == 0
    assert "Without pictures, which would make this file larger than 5 MB: 2 of the cases" in page
    # 24 patients take, beside their pictures, what two take twelve times at most
    assert 12 * len(page) < 5_000_000 - 3_600_000


def test_scores_may_be_given(cohort: Cohort, tmp_path: Path) -> None:
    from boneviz.scorecohort import score_cohort

    before = page_of(cohort, tmp_path)
    scores = score_cohort(cohort, progress=False)
    write_report(cohort, tmp_path / "given.html", scores=scores, progress=False)
    assert (tmp_path / "given.html").read_text(encoding="utf-8") == before


def test_caveats_say_what_n_cannot_show(cohort: Cohort, tmp_path: Path) -> None:
    text = text_of(page_of(cohort, tmp_path))
    assert "The patients are phantoms with planted expert styles." in text
    assert "Neither expert is truth." in text
    assert "the smallest p that a sign-flip test can give is 0.5: no p below 0.05" in text


def test_starred_regions_have_a_section_with_pictures_of_their_pair(cohort: Cohort) -> None:
    stars = tuple(
        regions(read_readings(cohort, cohort[case_id]).case, "Expert A", "Expert B")[0]
        for case_id in ("P02", "P01")
    )
    page = report_page(cohort, starred=stars, progress=False)
    section = re.search(r'<section id="starred">.*?</section>', page, re.S)
    assert section is not None
    assert section[0].count("data:image/png;base64,") == 2 * 3
    assert f"P01, region 1: {stars[1].kind_in_words}" in section[0]
    assert f"<td>{stars[1].n_voxels}</td>" in section[0]
    assert '<a href="#starred">Starred regions</a>' in page
    assert "no such region any more" not in section[0]
    # one that was starred on other readings is shown, and is said to be gone
    for changes in ({"n_voxels": 1}, {"suv_max": 99.0}, {"kind": "shared"}, {"reference": "Gone"}):
        gone = replace(stars[0], **changes)
        assert "no such region any more" in report_page(cohort, starred=(gone,), progress=False)
    # without stars all is as before
    assert 'id="starred"' not in report_page(cohort, progress=False)
    with pytest.raises(InputError, match=r"starred regions of P99: not in the cohort Tiny"):
        report_page(cohort, starred=(replace(gone, patient_id="P99"),), progress=False)


def test_the_command_takes_a_table_of_stars(cohort: Cohort, tmp_path: Path) -> None:
    case = read_readings(cohort, cohort["P01"]).case
    write_table(regions_table(regions(case, "Expert A", "Expert B")[:1]), tmp_path / "stars.csv")
    out = tmp_path / "report.html"
    arguments = ["report", str(cohort.root), "--out", str(out), "--quiet"]
    assert main([*arguments, "--starred", str(tmp_path / "stars.csv")]) == 0
    assert "P01, region 1" in out.read_text(encoding="utf-8")
    assert main([*arguments, "--starred", str(tmp_path / "none.csv")]) == 1


def test_names_in_starred_regions_are_text(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>"
    made = write_tiny_cohort(tmp_path / "tiny", [limb(bad)])
    a, b = replace(EXPERT_A, name=bad + "A"), replace(EXPERT_B, name=bad + "B")
    cases = [replace(r, masks={a: r.masks[EXPERT_A], b: r.masks[EXPERT_B]}) for r in made]
    hostile = replace(made, readers=(a, b), cases=tuple(cases))
    star = regions(read_readings(hostile, hostile[bad]).case, bad + "A", bad + "B")[0]
    page = report_page(hostile, starred=(star,), progress=False)
    sources = [a["src"] for tag, a in Tags(page).found if tag == "img"]
    assert len(sources) == 6
    assert all(str(source).startswith("data:image/png") for source in sources)


def test_a_patient_in_counts_has_no_suv_figure_and_says_so(cohort: Cohort, tmp_path: Path) -> None:
    before = page_of(cohort, tmp_path)
    assert "no SUV" not in before
    put_into_counts(cohort["P02"])
    found = regions(read_readings(cohort, cohort["P02"]).case, "Expert A", "Expert B")
    write_report(cohort, tmp_path / "report.html", starred=found[:1], progress=False)
    page = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    of_counts = re.search(r"There is no SUV: PET in counts; its colours run from 0 to (\S+) ", page)
    # the limb's box of SUV 8 to 8.2, of 20000 counts each
    assert of_counts is not None
    assert 150_000 < float(of_counts[1]) < 165_000
    assert "counts (PatientWeight (0010,1030) is absent)." in page
    assert "no SUV: PET in counts of P02; every SUV figure of theirs is left out" in page
    assert "Expert B against Expert A. There is no SUV: PET in counts." in page
    # of the two cases' tables of regions one has its SUVmax; the starred region has none
    assert math.isnan(found[0].suv_max)
