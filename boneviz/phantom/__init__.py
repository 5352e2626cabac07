"""Synthetic PET/CT patients with bone infections and two planted expert styles."""

from boneviz.phantom.generate import Phantom, PhantomConfig, Plant, make_phantom, tiny_phantom
from boneviz.phantom.sites import PLACES
from boneviz.phantom.write import make_cohort

__all__ = [
    "PLACES",
    "Phantom",
    "PhantomConfig",
    "Plant",
    "make_cohort",
    "make_phantom",
    "tiny_phantom",
]
