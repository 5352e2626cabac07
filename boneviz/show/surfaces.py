"""The readers' outlines as smooth surfaces over translucent bone and body, in 3D."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from boneviz.case import Case
from boneviz.palette import ReaderStyle
from boneviz.show.plot import PlotClick, PlotView
from boneviz.volume import Grid, Volume

__all__ = [
    "BODY_HU",
    "BONE_HU",
    "Mesh",
    "SurfaceView",
    "body_mesh",
    "bone_mesh",
    "mesh_of",
    "plain",
    "rings_of",
]

BONE_HU = 250.0
BODY_HU = -300.0
MAX_FACES = 30_000
MAX_BODY_FACES = 8_000
RING_MM = 4.0
OF_READERS = ("reader", "rings")


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A triangle mesh in RAS mm.

    Parameters
    ----------
    vertices_mm : (n, 3) float32
    faces : (m, 3) int32, indices into the vertices
    """

    vertices_mm: NDArray[np.float32]
    faces: NDArray[np.int32]


def mesh_of(mask: NDArray[np.bool_], grid: Grid) -> Mesh | None:
    """Return the smoothed surface of a mask, or None where it is empty.

    Every 26-connected part is blurred by 0.8 voxels and cut where as many voxels lie inside as in
    the part, so that smoothing neither shrinks nor swells it and a lesion of one voxel stays; the
    surface lies within about a voxel of the mask's own.
    """
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(labels)
    parts = [_part(labels[box] == n, box, grid) for n, box in enumerate(boxes, start=1)]
    if not parts:
        return None
    first_vertex = np.cumsum([0, *(len(part.vertices_mm) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, first_vertex, strict=False)]
    return Mesh(
        np.concatenate([part.vertices_mm for part in parts]),
        np.concatenate(faces).astype(np.int32),
    )


def _part(mask: NDArray[np.bool_], box: tuple[slice, ...], grid: Grid) -> Mesh:
    count = int(np.count_nonzero(mask))
    field = ndimage.gaussian_filter(np.pad(mask, 3).astype(np.float32), 0.8)
    level = float(np.partition(field.ravel(), -count)[-count]) - 1e-4
    return _surface(field, level, grid, np.array([side.start for side in box]) - 3)


def bone_mesh(case: Case) -> Mesh | None:
    """Return the surface of bone (CT above 250 HU, no speckle), or None where there is none."""
    field = ndimage.gaussian_filter(case.ct.array.astype(np.float32), 0.7)
    bone = field > BONE_HU
    labels, n = ndimage.label(bone)
    if n == 0:
        return None
    sizes = np.bincount(labels.ravel())
    # parts below 1 mL are noise, vessel calcification or table
    small = sizes * case.ct.grid.voxel_volume_ml < 1.0
    field[small[labels] & bone] = BONE_HU - 1
    if not (field > BONE_HU).any():
        return None
    # the field of view cuts bones: closed ends look like bone, open ones like a hole
    return _surface(np.pad(field, 1, constant_values=-1000), BONE_HU, case.ct.grid, np.full(3, -1))


def body_mesh(case: Case, *, max_faces: int = MAX_BODY_FACES) -> Mesh | None:
    """Return the closed surface of the body, without table and air within, or None without one.

    It is there for orientation: voxels of 4 mm, or of more until the mesh is light enough.

    Parameters
    ----------
    max_faces : triangles at most; of the coarsest surface there may be more
    """
    grid = case.ct.grid
    mesh = None
    for edge_mm in (4, 6, 8, 12):
        step = np.array([max(1, round(edge_mm / spacing)) for spacing in grid.spacing_mm])
        inside = case.ct.array[tuple(slice(None, None, int(n)) for n in step)] > BODY_HU
        labels, n = ndimage.label(inside)
        if n == 0:
            return None
        sizes = np.bincount(labels.ravel())[1:]
        # two legs are two parts; table, pillows and drips are less than a quarter
        large = np.flatnonzero(sizes >= sizes.max() / 4) + 1
        body = ndimage.binary_fill_holes(np.pad(np.isin(labels, large), 2))
        field = ndimage.gaussian_filter(body.astype(np.float32), 0.8)
        # marching cubes of a blurred block of one voxel may find nothing at half
        level = min(0.5, 0.9 * float(field.max()))
        vertices, faces, _, _ = marching_cubes(field, level, allow_degenerate=False)
        at_mm = grid.to_mm((vertices - 2) * step)
        mesh = Mesh(at_mm.astype(np.float32), faces.astype(np.int32))
        if len(faces) <= max_faces:
            break
    return mesh


def rings_of(
    mesh: Mesh, *, apart_mm: float = RING_MM, shift_mm: float = 0.0
) -> NDArray[np.float32]:
    """Return where axial planes cut a mesh, as segments (n, 2, 3) in RAS mm.

    Parameters
    ----------
    apart_mm, shift_mm : the planes lie at multiples of the first, moved up by the second
    """
    corners = mesh.vertices_mm[mesh.faces]  # (m, 3, 3)
    z_mm = corners[..., 2]
    first = math.ceil((z_mm.min() - shift_mm) / apart_mm)
    last = math.floor((z_mm.max() - shift_mm) / apart_mm)
    found = [np.zeros((0, 2, 3), dtype=np.float32)]
    for n in range(first, last + 1):
        at_mm = n * apart_mm + shift_mm
        below = z_mm < at_mm
        cut = corners[below.any(axis=1) & ~below.all(axis=1)]
        after = np.roll(cut, -1, axis=1)
        # of the three edges of a triangle two cross the plane
        crossing = (cut[..., 2] < at_mm) != (after[..., 2] < at_mm)
        start, end = cut[crossing], after[crossing]
        share = (at_mm - start[:, 2:]) / (end[:, 2:] - start[:, 2:])
        found.append((start + share * (end - start)).reshape(-1, 2, 3))
    return np.concatenate(found)


def _surface(
    field: NDArray[np.float32], level: float, grid: Grid, offset: NDArray[np.int_]
) -> Mesh:
    """Cut a field at a level, coarser until the mesh is small enough to turn on a slow laptop."""
    for step in (1, 2, 3, 4):
        vertices, faces, _, _ = marching_cubes(field, level, step_size=step, allow_degenerate=False)
        if len(faces) <= MAX_FACES:
            break
    return Mesh(grid.to_mm(vertices + offset).astype(np.float32), faces.astype(np.int32))


class SurfaceView:
    """Surfaces of one case in a plotly figure that turns, zooms and tells where it was clicked.

    `figure` is what is drawn, `widget` draws it.

    Parameters
    ----------
    on_click : called with the RAS mm of a clicked point
    """

    def __init__(self, *, on_click: Callable[[Sequence[float]], None] | None = None) -> None:
        hidden = {"visible": False, "showspikes": False}
        self._on_click = on_click
        self._shift_mm: dict[str, float] = {}
        self.figure = go.Figure(
            layout={
                "height": 480,
                "autosize": True,
                "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
                "paper_bgcolor": "#0b0d10",
                "showlegend": True,
                "legend": {
                    "x": 0.01,
                    "y": 0.99,
                    "bgcolor": "rgba(0,0,0,0)",
                    "font": {"color": "#c8d0da", "size": 12},
                },
                "uirevision": "case",
                "scene": {
                    "aspectmode": "data",
                    "dragmode": "turntable",
                    "xaxis": hidden,
                    "yaxis": hidden,
                    "zaxis": hidden,
                    # seen from the front and a little from above: the patient's right on the left
                    "camera": {"eye": {"x": 0.35, "y": 1.5, "z": 0.2}},
                },
            }
        )
        self.widget = PlotView(
            self.figure,
            label="Surfaces of the readers in 3D",
            on_click=self._clicked,
            name="boneviz-surfaces",
            config={
                "modeBarButtonsToRemove": [
                    "tableRotation",
                    "resetCameraLastSave3d",
                    "hoverClosest3d",
                ]
            },
        )

    def clear(self) -> None:
        """Take every surface away, so that none stands under another patient's name."""
        self.figure.data = ()
        self.widget.draw()

    def show(
        self,
        case: Case,
        *,
        styles: Sequence[ReaderStyle],
        visible: Collection[str],
        cursor_mm: Sequence[float],
    ) -> None:
        """Draw body, bone and the readers' surfaces of a case on one straight RAS grid."""
        # rings of several models lie between each other's, not on them
        ringed = [style.name for style in styles if style.dashed]
        self._shift_mm = {name: n * RING_MM / len(ringed) for n, name in enumerate(ringed)}
        traces: list[Any] = []
        # what is drawn later lies over what is drawn before: the readers last
        bone = bone_mesh(case)
        body = body_mesh(case, max_faces=_no_more_than(bone))
        if body is not None:
            traces.append(_around(body, "Body", "#cfd8e3", opacity=0.06))
        if bone is not None:
            traces.append(_around(bone, "Bone", "#e8e0d0", opacity=0.16))
        for style in styles:
            mask = case.masks.get(style.reader)
            mesh = None if mask is None else mesh_of(mask.array, case.ct.grid)
            if mesh is not None:
                traces += self._reader_traces(mesh, style, visible=style.name in visible)
        traces.sort(key=lambda trace: trace.meta == "rings")
        traces.append(_cursor_trace(cursor_mm))
        traces += _direction_traces(case.ct.grid)
        self.figure.data = ()
        self.figure.add_traces(traces)
        self.widget.draw()

    def redraw(self, style: ReaderStyle, outline: Volume, *, visible: bool) -> None:
        """Give one reader another surface, as when a model's threshold has moved."""
        mesh = mesh_of(outline.array, outline.grid)
        self.figure.data = tuple(
            trace
            for trace in self.figure.data
            if trace.meta not in OF_READERS or trace.customdata[0] != style.name
        )
        if mesh is not None:
            self.figure.add_traces(self._reader_traces(mesh, style, visible=visible))
        self.widget.draw()

    def set_visible(self, names: Collection[str]) -> None:
        """Show these readers' surfaces and hide the others'."""
        shown: dict[bool, list[int]] = {True: [], False: []}
        for place, trace in enumerate(self.figure.data):
            if trace.meta in OF_READERS:
                shown[trace.customdata[0] in names].append(place)
        for visible, places in shown.items():
            self.widget.restyle(places, {"visible": visible})

    def set_cursor(self, position_mm: Sequence[float]) -> None:
        """Move the cursor's mark."""
        marks = [place for place, trace in enumerate(self.figure.data) if trace.meta == "cursor"]
        x, y, z = (float(v) for v in position_mm)
        self.widget.restyle(marks, {"x": [x], "y": [y], "z": [z]})

    def _reader_traces(self, mesh: Mesh, style: ReaderStyle, *, visible: bool) -> list[Any]:
        shift_mm = self._shift_mm.get(style.name, 0.0)
        return _reader_traces(mesh, style, visible=visible, shift_mm=shift_mm)

    def _clicked(self, click: PlotClick) -> None:
        trace, (vertex,) = self.figure.data[click.trace], click.point
        if trace.type == "mesh3d" and self._on_click is not None:
            self._on_click([float(axis[vertex]) for axis in (trace.x, trace.y, trace.z)])


def _no_more_than(bone: Mesh | None) -> int:
    """Return how many triangles the body may have: what lies around is no heavier than bone."""
    return MAX_BODY_FACES if bone is None else min(MAX_BODY_FACES, max(1000, len(bone.faces)))


def _reader_traces(mesh: Mesh, style: ReaderStyle, *, visible: bool, shift_mm: float) -> list[Any]:
    """Return an expert's surface, or a model's: fainter, with rings as its slices are dashed.

    So where two agree both are seen, the one that is drawn later and the one under it.
    """
    opacity = 0.14 if style.dashed else 0.5
    surface = _trace(mesh, style.colour, opacity)
    surface.update(
        visible=visible,
        meta="reader",
        customdata=[style.name],
        hoverinfo="text",
        hovertext=plain(style.name),
        showlegend=False,
    )
    if not style.dashed:
        return [surface]
    between = np.full((1, 1, 3), np.nan, dtype=np.float32)
    segments = rings_of(mesh, shift_mm=shift_mm)
    gaps = np.broadcast_to(between, (len(segments), 1, 3))
    x, y, z = np.concatenate([segments, gaps], axis=1).reshape(-1, 3).T
    rings = go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="lines",
        line={"color": style.colour, "width": 2},
        # what is not quite opaque is drawn after the surfaces, which then do not dim it
        opacity=0.9,
        visible=visible,
        meta="rings",
        customdata=[style.name],
        hoverinfo="skip",
        showlegend=False,
    )
    return [surface, rings]


def _around(mesh: Mesh, name: str, colour: str, *, opacity: float) -> go.Mesh3d:
    """Return what is there for orientation; a click on its name in the legend hides it."""
    trace = _trace(mesh, colour, opacity)
    trace.update(name=name, meta=name.lower(), hoverinfo="skip", showlegend=True)
    return trace


def _trace(mesh: Mesh, colour: str, opacity: float) -> go.Mesh3d:
    x, y, z = mesh.vertices_mm.T
    i, j, k = mesh.faces.T
    return go.Mesh3d(
        x=x,
        y=y,
        z=z,
        i=i,
        j=j,
        k=k,
        color=colour,
        opacity=opacity,
        lighting={"ambient": 0.45, "diffuse": 0.75, "specular": 0.15, "roughness": 0.7},
        lightposition={"x": 1000, "y": 4000, "z": 3000},
        flatshading=False,
    )


def _cursor_trace(position_mm: Sequence[float]) -> go.Scatter3d:
    x, y, z = position_mm
    return go.Scatter3d(
        x=[x],
        y=[y],
        z=[z],
        mode="markers",
        marker={"size": 5, "color": "#ffffff", "symbol": "cross"},
        hoverinfo="skip",
        showlegend=False,
        meta="cursor",
    )


def _direction_traces(grid: Grid) -> list[go.Scatter3d]:
    """Letters R, L, A, P, S and I at the sides of the field of view."""
    corners = grid.corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y, z = (low + high) / 2
    letters: Mapping[str, tuple[float, float, float]] = {
        "R": (high[0], y, z),
        "L": (low[0], y, z),
        "A": (x, high[1], z),
        "P": (x, low[1], z),
        "S": (x, y, high[2]),
        "I": (x, y, low[2]),
    }
    return [
        go.Scatter3d(
            x=[at[0]],
            y=[at[1]],
            z=[at[2]],
            mode="text",
            text=[letter],
            textfont={"color": "#9aa4b2", "size": 14},
            hoverinfo="skip",
            showlegend=False,
            meta="direction",
        )
        for letter, at in letters.items()
    ]


def plain(name: str) -> str:
    """Return a name that plotly's hover shows as it is: it reads a few HTML tags."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
