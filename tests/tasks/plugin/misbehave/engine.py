"""Found through its entry point, like any plug-in."""

from engines.core.registry import Engine

engine = Engine("misbehave", "Misbehaviour", "Methods that fail in every way a worker must survive.", "misbehave")
