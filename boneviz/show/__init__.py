"""Widgets for Jupyter: the slice viewer, surfaces, tables, and the explorer that wires them."""

__all__: list[str] = []
