"""Surfaces of outlines: where they lie, and how much they hold."""

from __future__ import annotations

import numpy as np
from small import EXPERT_A, case_on

from boneviz.palette import styles_of
from boneviz.show.surfaces import MAX_FACES, Mesh, SurfaceView, bone_mesh, mesh_of
from boneviz.volume import Grid, Volume

GRID = Grid.straight((40, 36, 30), (2, 2.5, 3), (-30, 10, 100))


def ball(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    return np.linalg.norm(grid.to_mm(index) - centre_mm, axis=-1) <= radius_mm


def volume_ml(mesh: Mesh) -> float:
    """Return the volume inside a closed mesh: the sum of signed tetrahedra to the origin."""
    a, b, c = (mesh.vertices_mm[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    return abs(float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6) / 1000


def test_a_ball_keeps_its_place_and_volume() -> None:
    mesh = mesh_of(ball(GRID, (10, 55, 145), 18), GRID)
    assert mesh is not None
    away = np.linalg.norm(mesh.vertices_mm - (10, 55, 145), axis=1)
    # within one voxel (3 mm) of the ball of 18 mm everywhere
    assert abs(away - 18).max() < 3
    # 4/3 pi 18^3 mm3 = 24.43 mL
    assert abs(volume_ml(mesh) - 24.43) < 0.05 * 24.43


def test_one_voxel_still_has_a_surface_about_itself() -> None:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[20, 10, 5] = True
    mesh = mesh_of(mask, GRID)
    assert mesh is not None
    # voxel (20, 10, 5) lies at -30 + 40, 10 + 25, 100 + 15 mm
    np.testing.assert_allclose(mesh.vertices_mm.mean(axis=0), (10, 35, 115), atol=0.2)


def test_a_small_lesion_beside_a_large_one_keeps_its_surface() -> None:
    mask = ball(GRID, (10, 55, 145), 18)
    mask[1, 1, 1] = True  # at -28, 12.5, 103 mm
    mesh = mesh_of(mask, GRID)
    assert mesh is not None
    nearest = np.linalg.norm(mesh.vertices_mm - (-28, 12.5, 103), axis=1).min()
    assert nearest < 3
    assert mesh.faces.max() == len(mesh.vertices_mm) - 1


def test_an_outline_at_the_edge_of_the_scan_is_closed() -> None:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[:10, :10, :10] = True
    mesh = mesh_of(mask, GRID)
    assert mesh is not None
    edges = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    # in a closed surface every edge belongs to two triangles
    assert (count == 2).all()


def test_nothing_outlined_is_no_surface() -> None:
    assert mesh_of(np.zeros(GRID.shape, dtype=bool), GRID) is None


def test_a_large_surface_is_coarsened() -> None:
    grid = Grid.straight((150, 150, 150), (1, 1, 1))
    mesh = mesh_of(ball(grid, (75, 75, 75), 70), grid)
    assert mesh is not None
    # 4 pi 70^2 = 61,600 mm2 of voxel faces give over 120,000 triangles
    assert len(mesh.faces) <= MAX_FACES
    assert abs(np.linalg.norm(mesh.vertices_mm - 75, axis=1) - 70).max() < 1.5


def test_bone_is_the_ct_above_its_threshold_without_specks() -> None:
    ct = np.full(GRID.shape, 40, dtype=np.int16)
    ct[ball(GRID, (10, 55, 145), 18)] = 1000
    ct[2, 2, 2] = 3000  # 0.015 mL of metal or noise
    case = case_on(GRID)
    mesh = bone_mesh(type(case)("P1", "", Volume(ct, GRID, "HU"), case.pet))
    assert mesh is not None
    away = np.linalg.norm(mesh.vertices_mm - (10, 55, 145), axis=1)
    assert away.max() < 22


def test_soft_tissue_alone_has_no_bone() -> None:
    assert bone_mesh(case_on(GRID)) is None


def shown() -> SurfaceView:
    masks = {EXPERT_A: Volume(ball(GRID, (10, 55, 145), 12), GRID, "label")}
    view = SurfaceView()
    view.show(
        case_on(GRID, masks=masks),
        styles=styles_of([EXPERT_A]),
        visible=["Expert A"],
        cursor_mm=(1, 2, 3),
    )
    return view


def test_switching_a_reader_hides_its_surface() -> None:
    view = shown()
    trace = next(t for t in view.figure.data if t.meta == "reader")
    assert trace.visible
    view.set_visible([])
    assert trace.visible is False
    view.set_visible(["Expert A"])
    assert trace.visible


def test_the_mark_follows_the_cursor() -> None:
    view = shown()
    mark = next(t for t in view.figure.data if t.meta == "cursor")
    assert (mark.x, mark.y, mark.z) == ((1,), (2,), (3,))
    view.set_cursor((4, 5, 6))
    assert (mark.x, mark.y, mark.z) == ((4,), (5,), (6,))


def test_names_are_text_in_3d() -> None:
    hostile = type(EXPERT_A)("<img src=x onerror=alert(1)>", "expert")
    masks = {hostile: Volume(ball(GRID, (10, 55, 145), 12), GRID, "label")}
    view = SurfaceView()
    view.show(
        case_on(GRID, masks=masks), styles=styles_of([hostile]), visible=[], cursor_mm=(0, 0, 0)
    )
    trace = next(t for t in view.figure.data if t.meta == "reader")
    assert trace.hovertext == "&lt;img src=x onerror=alert(1)&gt;"
