"""Colours: readers that colour-blind people tell apart, and PET colour maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneviz.case import Reader
from boneviz.errors import InputError

__all__ = [
    "COLOUR_MAPS",
    "DIAL",
    "HOT_IRON",
    "PAIR_COLOURS",
    "ReaderStyle",
    "colour_map",
    "heat_colours",
    "rgb_of",
    "simulate_colour_blindness",
    "styles_of",
]

#: PET colour maps, in the order in which they are offered
COLOUR_MAPS = ("hot-iron", "inferno", "viridis", "grey", "grey-inverted")

# Experts are solid and saturated, models dashed and pale in their expert's hue: blue and orange
# stay apart for red- and green-blind eyes, lightness and dashes tell model from expert for all.
# tests/test_palette.py measures the distances under simulated colour blindness.
PAIRS = (
    ("#3d9bff", "#b9f0ff"),
    ("#ff8c1a", "#fff29e"),
    ("#c77dff", "#f0d6ff"),
    ("#2fbf71", "#c4f5d9"),
)
# never beside models, so only apart from experts, from bone and soft tissue, and from hot uptake
LEARNER = "#00e08a"
#: the outline between two models, dashed as they are; never beside a learner's
DIAL = "#de2098"

# Variants would share their model's hue; what experts and models leave is theirs.
VARIANTS = ("#c77dff", "#2fbf71", "#f0d6ff", "#c4f5d9")

#: where only the reference says yes, only the candidate, or both
PAIR_COLOURS = ("#3d9bff", "#ff8c1a", "#f4f4f4")


@dataclass(frozen=True, slots=True)
class ReaderStyle:
    """How a reader is drawn.

    Parameters
    ----------
    reader : who
    colour : ``#rrggbb``
    dashed : models are, experts are not
    """

    reader: Reader
    colour: str
    dashed: bool

    @property
    def name(self) -> str:
        """Name of the reader."""
        return self.reader.name


def styles_of(readers: Sequence[Reader]) -> tuple[ReaderStyle, ...]:
    """Give each reader a colour: experts by their order, each model its expert's hue, paler.

    Models without an expert among the readers, and variants of models, take the hues that are
    left. From the ninth reader on colours repeat. A learner has a colour of its own.
    """
    experts = [reader for reader in readers if reader.kind == "expert"]
    hue = {expert.name: place for place, expert in enumerate(experts)}
    spare, variants = len(experts), 0
    styles = []
    for reader in readers:
        if reader.kind == "expert":
            styles.append(ReaderStyle(reader, PAIRS[hue[reader.name] % len(PAIRS)][0], False))
            continue
        if reader.kind == "learner":
            styles.append(ReaderStyle(reader, LEARNER, False))
            continue
        if reader.variant:
            styles.append(ReaderStyle(reader, VARIANTS[variants % len(VARIANTS)], True))
            variants += 1
            continue
        place = hue.get(reader.learned_from or "")
        if place is None:
            place, spare = spare, spare + 1
        styles.append(ReaderStyle(reader, PAIRS[place % len(PAIRS)][1], True))
    return tuple(styles)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hot_iron() -> NDArray[np.uint8]:
    """Black, red, orange, white: each channel a ramp of its own, as on PET workstations."""
    at = np.linspace(0, 1, 256)
    ramps = [at / 0.5, (at - 0.5) / 0.35, (at - 0.75) / 0.25]
    return np.stack([np.rint(255 * ramp.clip(0, 1)) for ramp in ramps], axis=1).astype(np.uint8)


#: (256, 3) uint8, from no uptake to the top of the SUV scale
HOT_IRON: NDArray[np.uint8] = _hot_iron()

# colours evenly spaced along the maps that have no formula; show/front/window.js has the same
_STOPS = {
    "inferno": "000004 0d0829 280b53 470b6a 65156e 82206c 9f2a63 "
    "bc3754 d44842 e8602d f57d15 fc9f07 fac228 f3e55d fcffa4",
    "viridis": "440154 481b6d 46327e 3f4788 365c8d 2e6e8e 277f8e "
    "21918c 1fa187 2db27d 4ac16d 73d056 a0da39 d0e11c fde725",
}


def colour_map(name: str) -> NDArray[np.uint8]:
    """Return a PET colour map as (256, 3) uint8, the same as in the viewer's page.

    Raises
    ------
    InputError
        No map has this name.
    """
    if name not in COLOUR_MAPS:
        raise InputError(f"colour map {name!r}: expected one of {', '.join(COLOUR_MAPS)}")
    if name in _STOPS:
        stops = np.array([rgb_of(f"#{stop}") for stop in _STOPS[name].split()], dtype=np.float64)
        at = np.arange(256)[:, None] / 255 * (len(stops) - 1)
        below = np.minimum(at.astype(int)[:, 0], len(stops) - 2)
        colours = stops[below] + (stops[below + 1] - stops[below]) * (at - below[:, None])
        table: NDArray[np.uint8] = np.floor(colours + 0.5).astype(np.uint8)
        return table
    if name == "hot-iron":
        return HOT_IRON.copy()
    steps = np.arange(256) if name == "grey" else np.arange(255, -1, -1)
    return np.repeat(steps[:, None], 3, axis=1).astype(np.uint8)


def heat_colours(n: int) -> tuple[str, ...]:
    """Return the colours of 1 to `n` readers who say yes: the more, the lighter."""
    table = colour_map("viridis")
    # its first colours are as dark as the CT; one reader alone must be seen too
    at = np.rint(np.linspace(70, 255, n)).astype(int) if n > 1 else [255]
    return tuple("#" + bytes(table[i]).hex() for i in at)


# Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1.0, linear RGB
_MACHADO = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def simulate_colour_blindness(rgb: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """Return colours as someone colour-blind sees them.

    Parameters
    ----------
    rgb : (..., 3) uint8
    kind : ``protanopia``, ``deuteranopia`` or ``tritanopia``
        (Machado et al. 2009, severity 1)
    """
    if kind not in _MACHADO:
        raise InputError(f"colour blindness {kind!r}: expected one of {', '.join(_MACHADO)}")
    value = rgb.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(_MACHADO[kind]).T).clip(0, 1)
    back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    result: NDArray[np.uint8] = np.rint(back * 255).astype(np.uint8)
    return result
