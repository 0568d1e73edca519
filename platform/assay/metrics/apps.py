from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "assay.metrics"
    label = "metrics"
    verbose_name = "Metric store"
