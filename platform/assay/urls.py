"""Every address: pages, API, dashboards, admin."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from assay.api.health import healthz, readyz
from assay.monitoring.views import metrics

urlpatterns = [
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}web/icon.svg")),  # the admin asks
    path("admin/", admin.site.urls),
    path("api/v1/", include("assay.api.urls")),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("dashboards/", include("dashboards.urls")),
    path("", include("assay.web.urls")),
]

handler400 = "assay.web.errors.bad_request"
handler403 = "assay.web.errors.not_allowed"
handler404 = "assay.web.errors.not_found"
handler500 = "assay.web.errors.broken"
