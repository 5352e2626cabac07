"""Keeps plotly figures as wide as the page: they listen to the window alone, not to its panels."""

from __future__ import annotations

import anywidget

__all__ = ["FitWidth"]


class FitWidth(anywidget.AnyWidget):
    """An invisible line whose width, when it changes, makes the figures on the page fit anew."""

    _esm = """
    export default {
      render({ el }) {
        let frame = 0;
        const observer = new ResizeObserver(() => {
          cancelAnimationFrame(frame);
          frame = requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
        });
        observer.observe(el);
        // figures drawn before they had a place are 700 pixels wide until something changes
        const late = [300, 1000, 3000].map((ms) =>
          setTimeout(() => window.dispatchEvent(new Event("resize")), ms));
        return () => { observer.disconnect(); late.forEach(clearTimeout); };
      },
    };
    """
