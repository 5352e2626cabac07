"""The readers' outlines as smooth surfaces over translucent bone, in 3D."""

from __future__ import annotations

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

__all__ = ["BONE_HU", "Mesh", "SurfaceView", "bone_mesh", "mesh_of", "plain"]

BONE_HU = 250.0
MAX_FACES = 30_000


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
        self.figure = go.Figure(
            layout={
                "height": 480,
                "autosize": True,
                "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
                "paper_bgcolor": "#0b0d10",
                "showlegend": False,
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
        """Draw bone and the readers' surfaces of a case on one straight RAS grid."""
        traces: list[Any] = []
        bone = bone_mesh(case)
        if bone is not None:
            traces.append(_trace(bone, "", "#e8e0d0", opacity=0.16))
        for style in styles:
            mask = case.masks.get(style.reader)
            mesh = None if mask is None else mesh_of(mask.array, case.ct.grid)
            if mesh is not None:
                traces.append(_reader_trace(mesh, style, visible=style.name in visible))
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
            if trace.meta != "reader" or trace.customdata[0] != style.name
        )
        if mesh is not None:
            self.figure.add_trace(_reader_trace(mesh, style, visible=visible))
        self.widget.draw()

    def set_visible(self, names: Collection[str]) -> None:
        """Show these readers' surfaces and hide the others'."""
        shown: dict[bool, list[int]] = {True: [], False: []}
        for place, trace in enumerate(self.figure.data):
            if trace.meta == "reader":
                shown[trace.customdata[0] in names].append(place)
        for visible, places in shown.items():
            self.widget.restyle(places, {"visible": visible})

    def set_cursor(self, position_mm: Sequence[float]) -> None:
        """Move the cursor's mark."""
        marks = [place for place, trace in enumerate(self.figure.data) if trace.meta == "cursor"]
        x, y, z = (float(v) for v in position_mm)
        self.widget.restyle(marks, {"x": [x], "y": [y], "z": [z]})

    def _clicked(self, click: PlotClick) -> None:
        trace, (vertex,) = self.figure.data[click.trace], click.point
        if trace.type == "mesh3d" and self._on_click is not None:
            self._on_click([float(axis[vertex]) for axis in (trace.x, trace.y, trace.z)])


def _reader_trace(mesh: Mesh, style: ReaderStyle, *, visible: bool) -> go.Mesh3d:
    opacity = 0.35 if style.dashed else 0.55
    return _trace(mesh, style.name, style.colour, opacity=opacity, visible=visible)


def _trace(
    mesh: Mesh, name: str, colour: str, *, opacity: float, visible: bool = True
) -> go.Mesh3d:
    x, y, z = mesh.vertices_mm.T
    i, j, k = mesh.faces.T
    is_reader = bool(name)  # no reader is without a name
    return go.Mesh3d(
        x=x,
        y=y,
        z=z,
        i=i,
        j=j,
        k=k,
        color=colour,
        opacity=opacity,
        visible=visible,
        meta="reader" if is_reader else "bone",
        customdata=[name],
        hoverinfo="skip" if not is_reader else "text",
        hovertext=plain(name),
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
        meta="cursor",
    )


def _direction_traces(grid: Grid) -> list[go.Scatter3d]:
    """Letters R, L, S and I at the sides of the field of view."""
    corners = grid.corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y, z = (low + high) / 2
    letters: Mapping[str, tuple[float, float, float]] = {
        "R": (high[0], y, z),
        "L": (low[0], y, z),
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
            meta="direction",
        )
        for letter, at in letters.items()
    ]


def plain(name: str) -> str:
    """Return a name that plotly's hover shows as it is: it reads a few HTML tags."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
