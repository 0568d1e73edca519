from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from assay.readonly import ReadOnlyAdmin, ReadOnlyInline

from .models import Device, Node


class Devices(ReadOnlyInline):
    model = Device


@admin.register(Node)
class NodeAdmin(admin.ModelAdmin):
    """A worker writes its row; a person may tell it to take no new runs, or delete a node that is gone."""

    list_display = ("name", "hostname", "slots", "cores", "heartbeat_at", "stopped", "draining")
    list_filter = ("stopped", "draining")
    search_fields = ("name", "hostname")
    inlines = (Devices,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in Node._meta.fields if field.name != "draining"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display = ("node", "index", "name", "memory")
    search_fields = ("name", "uuid", "node__name")
