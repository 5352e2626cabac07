"""One fused slice with contours as a picture, without a browser: for reports and fallbacks.

Radiological convention: on axial and coronal slices the patient's right is on the left of the
picture; on sagittal slices the front is on the left; the head is up, true to scale.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.measure import find_contours, label

from boneviz.case import Case
from boneviz.errors import GridError, InputError
from boneviz.palette import ReaderStyle, colour_map, rgb_of
from boneviz.volume import Volume

__all__ = [
    "LETTERS",
    "NORMALS",
    "Display",
    "Mode",
    "Overlay",
    "Plane",
    "counts_range",
    "disputed_mm",
    "fused_slice",
    "png_of",
]

Plane = Literal["axial", "coronal", "sagittal"]
Mode = Literal["ct", "pet", "fused"]

# array axes across the picture (left to right) and down it, and whether each is reversed;
# on a straight RAS grid index 0 is the patient's left, back and foot end
_VIEWS: dict[Plane, tuple[int, bool, int, bool]] = {
    "axial": (0, True, 1, True),
    "coronal": (0, True, 2, True),
    "sagittal": (1, True, 2, True),
}
#: the axis along which slices of a plane are counted, of an array and of RAS alike
NORMALS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
#: letters at the left, right, top and bottom of each plane
LETTERS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}


@dataclass(frozen=True, slots=True)
class Display:
    """How intensities become colours.

    Parameters
    ----------
    level_hu, width_hu : CT window, the bone window by default
    suv_max : SUVbw shown in the last colour, and all above
    opacity : of PET over CT, 0 to 1, scaled by the uptake itself so that cold tissue stays clear
    mm_per_pixel : of the picture
    window_mm : side of a square about the position; the whole slice by default
    mode : ``ct`` or ``pet`` alone, or ``fused``
    suv_min : SUVbw shown in the first colour, and all below
    colour_map : of the PET, one of `boneviz.palette.COLOUR_MAPS`
    counts : first and last colour of a PET in counts, for which a SUV range means nothing; by
        default `counts_range` of the case

    Raises
    ------
    InputError
        A mode or colour map that does not exist, or a window or SUV range without extent.
    """

    level_hu: float = 400.0
    width_hu: float = 1800.0
    suv_max: float = 8.0
    opacity: float = 0.6
    mm_per_pixel: float = 1.0
    window_mm: float | None = None
    mode: Mode = "fused"
    suv_min: float = 0.0
    colour_map: str = "hot-iron"
    counts: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        modes = get_args(Mode)
        if self.mode not in modes:
            raise InputError(f"mode {self.mode!r}: expected one of {', '.join(modes)}")
        if not self.width_hu > 0:
            raise InputError(f"CT window {self.width_hu:g} HU wide: expected more than 0")
        if not self.suv_max > self.suv_min:
            raise InputError(
                f"SUV range {self.suv_min:g} to {self.suv_max:g}: expected the second number larger"
            )
        if self.counts is not None and not self.counts[1] > self.counts[0]:
            low, high = self.counts
            raise InputError(f"counts {low:g} to {high:g}: expected the second number larger")
        colour_map(self.colour_map)


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Colours over the voxels of a case, below the contours.

    Parameters
    ----------
    codes : (X, Y, Z) uint8 on the CT's grid
    rgba : (256, 4), of each code red, green and blue, 0 to 255, and how much it covers, 0 to 1
    """

    codes: NDArray[np.uint8]
    rgba: NDArray[np.float32]


def fused_slice(
    case: Case,
    plane: Plane,
    position_mm: Sequence[float],
    *,
    styles: Sequence[ReaderStyle] = (),
    display: Display = Display(),
    overlay: Overlay | None = None,
) -> NDArray[np.uint8]:
    """Return one slice as (height, width, 3) uint8.

    Parameters
    ----------
    case : CT, PET and masks on one straight RAS grid
    plane : ``axial``, ``coronal`` or ``sagittal``
    position_mm : a point in RAS mm on the slice; beyond the volume the nearest slice is taken
    styles : whose contours to draw, of the readers in the case; the last is on top
    display : window, SUV scale and size
    overlay : colours between images and contours, with the voxels' own edges

    Raises
    ------
    GridError
        The case is not on one straight RAS grid.
    """
    grid = case.ct.grid
    if not case.on_one_grid or not grid.is_straight or grid.orientation != "RAS":
        raise GridError(
            f"patient {case.case_id}: CT on {grid.describe()}, PET on {case.pet.grid.describe()}; "
            "expected one straight RAS grid, call harmonise() first"
        )
    if plane not in _VIEWS:
        raise InputError(f"plane {plane!r}: expected one of {', '.join(_VIEWS)}")
    across, flip_across, down, flip_down = _VIEWS[plane]
    fixed = 3 - across - down
    index = round(float(grid.to_index(position_mm)[fixed]))
    index = min(max(index, 0), grid.shape[fixed] - 1)

    def cut(array: NDArray[np.generic]) -> NDArray[np.float32]:
        flat = np.moveaxis(array, (down, across), (0, 1))[..., index].astype(np.float32)
        return flat[:: -1 if flip_down else 1, :: -1 if flip_across else 1]

    ct = (cut(case.ct.array) - (display.level_hu - display.width_hu / 2)) / display.width_hu
    low, high = display.suv_min, display.suv_max
    if not case.has_suv:
        low, high = display.counts or counts_range(case.pet)
    pet = ((cut(case.pet.array) - low) / (high - low)).clip(0, 1)
    grey = 255 * ct.clip(0, 1)[..., None]
    weight = _cover(pet, display)[..., None]
    hot = colour_map(display.colour_map)[np.rint(pet * 255).astype(int)].astype(np.float32)
    fused = np.rint(grey * (1 - weight) + hot * weight).astype(np.uint8)

    scale = (
        grid.spacing_mm[across] / display.mm_per_pixel,
        grid.spacing_mm[down] / display.mm_per_pixel,
    )
    size = (
        max(1, round(fused.shape[1] * scale[0])),
        max(1, round(fused.shape[0] * scale[1])),
    )
    image = Image.fromarray(fused).resize(size, Image.Resampling.BICUBIC)
    if overlay is not None:
        rgba = overlay.rgba[cut(overlay.codes).astype(int)]
        colours = Image.fromarray(np.rint(rgba[..., :3]).astype(np.uint8))
        cover = Image.fromarray(np.rint(rgba[..., 3] * 255).astype(np.uint8))
        near = Image.Resampling.NEAREST
        image.paste(colours.resize(size, near), mask=cover.resize(size, near))
    draw = ImageDraw.Draw(image)
    for style in styles:
        if style.reader in case.masks:
            _contour(draw, cut(case.masks[style.reader].array), scale, style)
    if display.window_mm is not None:
        at = grid.to_index(position_mm)
        x, y = (
            (grid.shape[axis] - 1 - at[axis] if flip else at[axis]) + 0.5
            for axis, flip in ((across, flip_across), (down, flip_down))
        )
        left, top = round(x * scale[0]), round(y * scale[1])
        half = round(display.window_mm / display.mm_per_pixel / 2)
        # beyond the field of view the picture stays black
        image = image.crop((left - half, top - half, left + half, top + half))
    return np.asarray(image)


def counts_range(pet: Volume) -> tuple[float, float]:
    """Return first and last colour of a PET in counts: 0 and the 99.9th percentile of its voxels.

    The percentile has three digits, as it stands in the controls and is no more exact than that.

    Without anything above 0 in all but a few voxels the highest, or 1 where there is none at all.
    """
    high = float(np.percentile(pet.array, 99.9))
    if not high > 0:
        high = float(pet.array.max())
    return 0.0, float(f"{high:.3g}") if high > 0 else 1.0


def _cover(pet: NDArray[np.float32], display: Display) -> NDArray[np.float32]:
    """Return how much of the CT the PET hides, 0 to 1, for uptake as a share of the range shown."""
    if display.mode == "ct":
        return np.zeros_like(pet)
    if display.mode == "pet":
        return np.ones_like(pet)
    # low uptake stays transparent, so that bone without uptake keeps its brightness
    return np.float32(display.opacity) * np.minimum(np.float32(1), pet * 2)


def disputed_mm(case: Case) -> tuple[float, float, float]:
    """Return a voxel amid the largest dispute of the axial slice on which readers differ most.

    Without a dispute the middle of what is outlined, without outlines the middle of the CT.
    """
    masks = [mask.array for mask in case.masks.values()]
    votes = np.zeros(case.ct.grid.shape, dtype=np.int16)
    for mask in masks:
        votes += mask
    disputed = (votes > 0) & (votes < len(masks))
    where = disputed if disputed.any() else votes > 0
    if not where.any():
        middle = case.ct.grid.corners_mm().mean(axis=0)
        return float(middle[0]), float(middle[1]), float(middle[2])
    z = int(where.sum(axis=(0, 1)).argmax())
    # between two disputes lies a place that is in neither: the larger one is gone to
    parts, _ = label(where[:, :, z], return_num=True)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    on_slice = np.argwhere(parts == largest)
    nearest = on_slice[np.abs(on_slice - on_slice.mean(axis=0)).sum(axis=1).argmin()]
    x_mm, y_mm, z_mm = case.ct.grid.to_mm((*nearest, z))
    return float(x_mm), float(y_mm), float(z_mm)


def png_of(
    picture: NDArray[np.uint8], *, colours: int | None = None, exact: Iterable[str] = ()
) -> bytes:
    """Return a picture as the bytes of a PNG file.

    Parameters
    ----------
    picture : (height, width, 3)
    colours : how many are kept, up to 256, which makes the file several times as small; all by
        default
    exact : colours, ``#rrggbb``, that stay as they are beside these: of thin lines, which would
        fade into what is around them
    """
    stream = io.BytesIO()
    image = Image.fromarray(picture)
    if colours is not None:
        # without dithering, whose noise would cost more than the colours save
        image = image.quantize(colours, dither=Image.Dither.NONE)
        image = _with_colours(image, picture, dict.fromkeys(exact))
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _with_colours(
    image: Image.Image, picture: NDArray[np.uint8], colours: Iterable[str]
) -> Image.Image:
    """Return a picture by palette, with the pixels of these colours as they were in the picture."""
    index, palette = np.array(image), list(image.getpalette() or ())
    for colour in colours:
        rgb = rgb_of(colour)
        index[(picture == rgb).all(axis=-1)] = len(palette) // 3
        palette += rgb
    kept = Image.fromarray(index, mode="P")
    kept.putpalette(palette)
    return kept


def _contour(
    draw: ImageDraw.ImageDraw,
    mask: NDArray[np.float32],
    scale: tuple[float, float],
    style: ReaderStyle,
) -> None:
    for line in find_contours(np.pad(mask, 1), 0.5):
        # voxel centres of the padded mask to pixels of the picture, x before y; whole numbers are
        # the middles of pixels, and a contour at the edge of the scan stays inside the picture
        points = (line[:, ::-1] - 1 + 0.5) * scale - 0.5
        points = points.clip(0, np.array(draw.im.size) - 1)
        runs = _dashes(points) if style.dashed else [points]
        for run in runs:
            path = [(float(x), float(y)) for x, y in run]
            draw.line(path, fill="#000000", width=3, joint="curve")
            draw.line(path, fill=style.colour, width=2 if not style.dashed else 1, joint="curve")


def _dashes(
    points: NDArray[np.float64], *, on: float = 5.0, off: float = 4.0
) -> list[NDArray[np.float64]]:
    """Cut a line into dashes of `on` pixels with gaps of `off`."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    runs = []
    for start in np.arange(0, along[-1], on + off):
        at = np.linspace(start, min(start + on, along[-1]), 6)
        runs.append(np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], axis=1))
    return runs
