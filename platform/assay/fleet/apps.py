from django.apps import AppConfig
from django.db.backends.signals import connection_created

from assay import postgres


class FleetConfig(AppConfig):
    name = "assay.fleet"
    label = "fleet"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        connection_created.connect(postgres.begin_session)
