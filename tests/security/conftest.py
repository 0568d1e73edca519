from tests.announced import metric_store, people, toy

__all__ = ["metric_store", "people", "toy"]
