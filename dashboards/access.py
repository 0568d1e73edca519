"""Who is asking: the Django request that the view handed to Dash's WSGI app."""

from typing import TYPE_CHECKING, Any

from assay.accounts.models import Project
from assay.web.context import current_project
from django.contrib.auth.models import AnonymousUser
from flask import has_request_context
from flask import request as wsgi_request

if TYPE_CHECKING:
    from django.http import HttpRequest

ENVIRON_KEY = "assay.request"


def django_request() -> "HttpRequest | None":
    """None outside a request (a layout made when the app is checked)."""
    return wsgi_request.environ.get(ENVIRON_KEY) if has_request_context() else None


def project() -> Project | None:
    """The project that the user switched to; None means all."""
    request = django_request()
    return current_project(request) if request is not None else None


def user() -> Any:
    """The signed-in user, else an anonymous one, who may see nothing."""
    request = django_request()
    return request.user if request is not None else AnonymousUser()
