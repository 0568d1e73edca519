from django.contrib import admin

from assay.readonly import ReadOnlyAdmin

from .models import Engine, Method, Problem


@admin.register(Engine)
class EngineAdmin(ReadOnlyAdmin):
    list_display = ("id", "title", "announced_at")
    search_fields = ("id", "title", "description")


class EntryAdmin(ReadOnlyAdmin):
    list_display = ("name", "engine", "title", "version")
    list_filter = ("engine",)
    search_fields = ("name", "title", "docs")


admin.site.register(Problem, EntryAdmin)
admin.site.register(Method, EntryAdmin)
