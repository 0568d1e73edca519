"""The request of a page that one sees only when signed in."""

from django.http import HttpRequest

from assay.accounts.models import User


class Request(HttpRequest):
    """Behind `login_required`, so the user is never anonymous."""

    user: User
    section: str
