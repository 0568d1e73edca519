"""Found through its entry point, like any plug-in."""

from engines.core.registry import Engine

engine = Engine("endure", "Endurance", "Runs whose every point, value and byte is known beforehand.", "endure")
