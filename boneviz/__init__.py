"""boneviz: where two experts and their two models disagree about bone infection, and why."""

__version__ = "0.1.0"
