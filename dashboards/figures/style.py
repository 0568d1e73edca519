"""Colours that depend on the theme. Which colour a method has is said once, in `assay.web.styles`."""

from collections.abc import Mapping


def faint(colour: str, opacity: float) -> str:
    """`colour` (#rrggbb) as rgba with `opacity` in [0, 1]."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


# The shell's own colours (assay/web/static/web/app.css), which a figure cannot read from the page.
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {"text": "#1d2127", "quiet": "#59616d", "grid": "#dcdfe4", "surface": "#ffffff"},
    "dark": {"text": "#e4e7eb", "quiet": "#a2abb8", "grid": "#30363f", "surface": "#1f2329"},
}
