from django.contrib import admin

from assay.readonly import ReadOnlyAdmin

from .models import Claim, Judgement, Verdict


@admin.register(Claim)
class ClaimAdmin(ReadOnlyAdmin):
    list_display = ("system", "engine", "runs", "seconds", "version")
    list_filter = ("engine",)
    search_fields = ("system", "statement")


@admin.register(Judgement)
class JudgementAdmin(ReadOnlyAdmin):
    list_display = ("system", "engine", "experiment", "judged_at", "attempt")
    list_filter = ("engine",)
    search_fields = ("system",)


@admin.register(Verdict)
class VerdictAdmin(ReadOnlyAdmin):
    list_display = ("part", "state", "measured", "threshold", "unit")
    list_filter = ("state",)
    search_fields = ("part", "note")
