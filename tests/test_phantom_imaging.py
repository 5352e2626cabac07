import numpy as np
import pytest

from boneviz.phantom.anatomy import Body
from boneviz.phantom.imaging import pet_grid, scan_ct, scan_pet, true_activity
from boneviz.phantom.shapes import Space
from boneviz.volume import Grid

SHAPE = (48, 40, 12)
GRID = Grid.straight(SHAPE, (2.0, 2.0, 3.0), (-40.3, 12.7, -600.0))


def body(*, hu: float = 40.0) -> Body:
    """A block of one tissue that fills the field of view."""
    zeros = np.zeros(SHAPE, np.float32)
    space = Space((zeros, zeros, zeros), np.eye(3, 4), 0.0, 1.0)
    return Body(
        space=space,
        edge_mm=2.0,
        ct=np.full(SHAPE, hu, np.float32),
        suv=zeros.copy(),
        bone_mm=zeros + 9,
        skin_mm=zeros - 9,
        metal_mm=zeros + 9,
        texture=zeros,
        coarse=zeros,
    )


def test_ct_noise_has_the_sd_asked_for_and_is_correlated_in_plane() -> None:
    ct = scan_ct(body(), GRID, noise_hu=14.0, rng=np.random.default_rng(1)).array.astype(float)
    assert ct.std() == pytest.approx(14, rel=0.02)
    # about 20 voxels share one grain, so the mean's error is 14 / sqrt(23040 / 20) = 0.4
    assert ct.mean() == pytest.approx(40, abs=1.5)
    neighbours = np.corrcoef(ct[1:].ravel(), ct[:-1].ravel())[0, 1]
    slices = np.corrcoef(ct[..., 1:].ravel(), ct[..., :-1].ravel())[0, 1]
    assert neighbours > 0.3 > slices + 0.2


def test_ct_range_is_twelve_bits() -> None:
    air, bone = body(hu=-1020.0), body(hu=3300.0)
    rng = np.random.default_rng(0)
    assert scan_ct(air, GRID, noise_hu=15, rng=rng).array.min() == -1024
    assert scan_ct(bone, GRID, noise_hu=15, rng=rng).array.max() == 3071


def test_metal_throws_a_dark_band_along_its_long_axis_only_in_its_slices() -> None:
    patient = body()
    # a plate 24 mm long in x and 4 mm in y, in slices 4 to 6
    patient.metal_mm[18:30, 19:21, 4:7] = -5
    clean = scan_ct(body(), GRID, noise_hu=1e-3, rng=np.random.default_rng(3)).array
    ct = scan_ct(patient, GRID, noise_hu=1e-3, rng=np.random.default_rng(3)).array
    assert (ct[18:30, 19:21, 5] == 3071).all()
    change = ct.astype(float) - clean
    beyond_the_ends = change[33:36, 19:21, 5].mean()
    beside = change[22:26, 26:30, 5].mean()
    assert beyond_the_ends < -60 < beside
    assert np.abs(change[..., 9:]).max() == 0


def test_resolution_is_five_millimetres() -> None:
    patient = body()
    patient.suv[24, 20, 6] = 1000.0
    seen = true_activity(patient, GRID)
    x = 2.0 * (np.arange(SHAPE[0]) - 24)
    variance = float((seen.sum(axis=(1, 2)) * x**2).sum() / seen.sum())
    # FWHM = 2.3548 SD
    assert 2.3548 * np.sqrt(variance) == pytest.approx(5.0, rel=0.02)
    assert seen.sum() == pytest.approx(1000, rel=1e-3)


def test_pet_grid_covers_the_ct_from_another_origin() -> None:
    grid = pet_grid(GRID, (4.07, 4.07, 4.0), rng=np.random.default_rng(2))
    assert (grid.corners_mm().min(axis=0) < GRID.corners_mm().min(axis=0)).all()
    assert (grid.corners_mm().max(axis=0) >= GRID.corners_mm().max(axis=0)).all()
    apart = GRID.to_index(grid.affine_ras_mm[:3, 3])
    assert (np.abs(apart - np.rint(apart)) > 0.01).any()


def test_pet_keeps_places_and_its_noise_grows_with_activity() -> None:
    activity = np.full(SHAPE, 1.0, np.float32)
    activity[24:] = 9.0
    grid = Grid.straight((24, 20, 9), (4.0, 4.0, 4.0), (-40.0, 13.0, -600.0))
    pet = scan_pet(activity, GRID, pet=grid, rng=np.random.default_rng(5)).array
    # the step lies at x = -40.3 + 2 * 23.5 = 6.7 mm, PET index (6.7 + 40) / 4 = 11.7
    cold, hot = pet[:10], pet[14:]
    assert cold.mean() == pytest.approx(1, rel=0.03)
    assert hot.mean() == pytest.approx(9, rel=0.03)
    # Poisson: nine times the activity has three times the SD
    assert hot.std() / cold.std() == pytest.approx(3, rel=0.15)
    assert pet[11].mean() < 5 < pet[12].mean()
