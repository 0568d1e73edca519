"""The dashboards, in the order of the navigation.

A page is a module with `NAME` (its address), `TITLE`, `ICON`, `layout()` and `register(app)`, which adds its callbacks.
"""

from . import compare, leaderboard, pareto, sweep

PAGES = (compare, pareto, leaderboard, sweep)
