from tests.announced import metric_store, people, toy
from tests.permissions.world import world

__all__ = ["metric_store", "people", "toy", "world"]
