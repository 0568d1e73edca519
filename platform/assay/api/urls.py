"""REST /api/v1."""

from django.urls import path
from ninja import NinjaAPI

from . import accounts, artifacts, catalogue, claims, data, experiments, metrics, nodes, notifications, runs, sweeps
from .auth import SessionAuth, TokenAuth
from .errors import register
from .parser import StrictParser
from .strict import refuse_unknown
from .throttle import PerUser

api = NinjaAPI(
    title="Assay",
    version="1",
    description='Authenticate with `Authorization: Bearer <token>` or a login session. Every error is '
                '`{"error": {"code", "message", "fields"}}`. What one may not see answers 404. '
                'A body may have 10 MB. Numbers that are not finite are null, in series the texts "NaN", "Infinity" '
                'and "-Infinity".',
    auth=[TokenAuth(), SessionAuth()],
    throttle=PerUser(),
    parser=StrictParser(),
    urls_namespace="api",
)
api.add_decorator(refuse_unknown)
register(api)
api.add_router("/catalogue", catalogue.router)
api.add_router("/claims", claims.router)
api.add_router("/experiments", experiments.router)
api.add_router("/runs", runs.router)
api.add_router("/sweeps", sweeps.router)
api.add_router("/artifacts", artifacts.router)
api.add_router("/metrics", metrics.router)
api.add_router("/nodes", nodes.router)
api.add_router("", data.router)
api.add_router("", accounts.router)
api.add_router("", notifications.router)

urlpatterns = [path("", api.urls)]
