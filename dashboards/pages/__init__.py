"""The dashboards, in the order of the navigation.

A page is a module with `NAME` (its address), `TITLE`, `ICON`, `layout()` and `register(app)`, which adds its callbacks.
"""

from . import compare, hardware, leaderboard, metrics, pareto, sweep

PAGES = (compare, pareto, leaderboard, sweep, hardware, metrics)
