"""Colours that depend on the theme. Which colour a method has is said once, in `assay.web.styles`."""

from collections.abc import Mapping
from typing import Any


def faint(colour: str, opacity: float) -> str:
    """`colour` (#rrggbb) as rgba with `opacity` in [0, 1]."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


# The shell's own colours (assay/web/static/web/app.css), which a figure cannot read from the page.
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {"text": "#1d2127", "quiet": "#59616d", "grid": "#dcdfe4", "surface": "#ffffff"},
    "dark": {"text": "#e4e7eb", "quiet": "#a2abb8", "grid": "#30363f", "surface": "#1f2329"},
}


def canvas(colours: Mapping[str, str]) -> dict[str, Any]:
    """The part of a layout that every figure shares: no background of its own, the shell's font and colours."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": colours["text"]},
        "hoverlabel": {"bgcolor": colours["surface"], "bordercolor": colours["grid"],
                       "font": {"color": colours["text"]}},
    }


def axis(colours: Mapping[str, str], title: str = "", **more: Any) -> dict[str, Any]:
    """An axis in the shell's colours; `more` is added to it."""
    return {"gridcolor": colours["grid"], "zeroline": False, "linecolor": colours["grid"], "showline": True,
            "tickcolor": colours["quiet"], "automargin": True,
            "title": {"text": title, "font": {"color": colours["quiet"]}, "standoff": 6}, **more}
