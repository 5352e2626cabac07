"""Surfaces of outlines: where they lie, and how much they hold."""

from __future__ import annotations

import numpy as np
from small import EXPERT_A, MODEL_A, MODEL_B, case_on

from boneviz.case import Case
from boneviz.palette import styles_of
from boneviz.show.surfaces import (
    MAX_BODY_FACES,
    MAX_FACES,
    RING_MM,
    Mesh,
    SurfaceView,
    body_mesh,
    bone_mesh,
    mesh_of,
    rings_of,
)
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


def case_of_ct(ct: np.ndarray, grid: Grid) -> Case:
    case = case_on(grid)
    return Case("P1", "", Volume(ct.astype(np.int16), grid, "HU"), case.pet)


def open_edges(mesh: Mesh) -> int:
    edges = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    return int((count != 2).sum())


def test_the_body_is_closed_without_its_air_and_without_the_table() -> None:
    grid = Grid.straight((120, 100, 60), (2, 2.5, 3))
    ct = np.full(grid.shape, -1000)
    ct[ball(grid, (120, 125, 90), 80)] = 40
    ct[ball(grid, (120, 125, 90), 20)] = -900  # air within
    ct[:, 2:4] = 100  # a table of 5 mm, at y from 5 to 7.5 mm, not touched
    mesh = body_mesh(case_of_ct(ct, grid))
    assert mesh is not None
    away = np.linalg.norm(mesh.vertices_mm - (120, 125, 90), axis=1)
    # within a coarse voxel of 4 to 6 mm of the ball of 80 mm; neither the air's 20 mm nor the table
    assert away.min() > 74 and away.max() < 86
    assert open_edges(mesh) == 0
    # 4/3 pi 80^3 mm3 = 2145 mL
    assert abs(volume_ml(mesh) - 2145) < 0.05 * 2145
    assert len(mesh.faces) <= MAX_BODY_FACES
    coarser = body_mesh(case_of_ct(ct, grid), max_faces=2500)
    assert coarser is not None and len(coarser.faces) <= 2500


def test_a_body_cut_by_the_field_of_view_is_closed_and_two_legs_are_both_there() -> None:
    grid = Grid.straight((100, 50, 40), (2, 2.5, 3))
    x, y = (np.arange(n) for n in grid.shape[:2])
    ct = np.full(grid.shape, -1000)
    for middle in (25, 75):
        leg = (2 * (x[:, None] - middle)) ** 2 + (2.5 * (y[None] - 25)) ** 2 < 35**2
        ct[leg] = 40
    mesh = body_mesh(case_of_ct(ct, grid))
    assert mesh is not None
    assert open_edges(mesh) == 0
    low, high = mesh.vertices_mm[:, 0].min(), mesh.vertices_mm[:, 0].max()
    assert abs(low - 15) < 6 and abs(high - 185) < 6  # 50 - 35 and 150 + 35 mm


def test_air_alone_has_no_body() -> None:
    assert body_mesh(case_on(GRID)) is None


def test_rings_are_circles_on_a_ball_at_multiples_of_their_distance() -> None:
    mesh = mesh_of(ball(GRID, (10, 55, 145), 18), GRID)
    assert mesh is not None
    rings = rings_of(mesh, apart_mm=6, shift_mm=1)
    heights = np.unique(np.round(rings[..., 2], 3))
    # from 127 to 163 mm lie 127, or not quite, and 133 to 157
    assert set(heights) >= {133, 139, 145, 151, 157}
    assert set(heights) <= {127, 133, 139, 145, 151, 157, 163}
    at_middle = rings[np.abs(rings[:, 0, 2] - 145) < 0.01]
    away = np.linalg.norm(at_middle[..., :2] - (10, 55), axis=-1)
    assert abs(away - 18).max() < 3
    # closed: every end is another segment's end too, up to rounding
    ends = np.round(at_middle.reshape(-1, 3), 2)
    _, count = np.unique(ends, axis=0, return_counts=True)
    assert (count % 2 == 0).all()


def test_models_are_faint_with_rings_between_each_others_and_go_together() -> None:
    outline = Volume(ball(GRID, (10, 55, 145), 12), GRID, "label")
    readers = [EXPERT_A, MODEL_A, MODEL_B]
    view = SurfaceView()
    case = case_on(GRID, masks=dict.fromkeys(readers, outline))
    view.show(case, styles=styles_of(readers), visible=["Expert A", "Model A"], cursor_mm=(0, 0, 0))

    def of(name: str) -> list[str]:
        return [t.meta for t in view.figure.data if t.customdata == (name,) and t.visible]

    assert (of("Expert A"), of("Model A"), of("Model B")) == (["reader"], ["reader", "rings"], [])
    kinds = [t.meta for t in view.figure.data]
    # later is over earlier, and what is quite opaque would be dimmed by all surfaces
    assert kinds.index("rings") > len(kinds) - 1 - kinds[::-1].index("reader")
    assert all(t.opacity < 1 for t in view.figure.data if t.meta == "rings")
    opacity = {t.customdata[0]: t.opacity for t in view.figure.data if t.meta == "reader"}
    assert opacity["Model A"] < opacity["Expert A"] / 2
    heights = [
        set(np.round(np.asarray(t.z)[np.isfinite(t.z)] % RING_MM, 2))
        for t in view.figure.data
        if t.meta == "rings"
    ]
    assert heights == [{0.0}, {RING_MM / 2}] or heights == [{0.0, RING_MM}, {RING_MM / 2}]
    view.set_visible(["Model B"])
    assert (of("Expert A"), of("Model A"), of("Model B")) == ([], [], ["reader", "rings"])
    view.redraw(styles_of(readers)[2], outline, visible=False)
    assert [t.meta for t in view.figure.data if t.customdata == ("Model B",)] == ["reader", "rings"]
    assert of("Model B") == []


def test_body_and_bone_are_in_the_legend_and_readers_in_the_slices_own() -> None:
    ct = np.full(GRID.shape, -1000)
    ct[ball(GRID, (10, 55, 145), 25)] = 40
    ct[ball(GRID, (10, 55, 145), 12)] = 700
    view = SurfaceView()
    view.show(case_of_ct(ct, GRID), styles=[], visible=[], cursor_mm=(0, 0, 0))
    assert [t.name for t in view.figure.data if t.showlegend] == ["Body", "Bone"]
    body, bone = view.figure.data[:2]
    assert body.opacity < bone.opacity
    assert len(body.i) <= max(1000, len(bone.i))
    letters = {
        t.text[0]: (t.x[0], t.y[0], t.z[0]) for t in view.figure.data if t.meta == "direction"
    }
    assert set(letters) == set("RLAPSI")
    assert letters["A"][1] > letters["P"][1]  # RAS: front is where y is larger


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
