"""The project switch in the shell."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from assay.accounts.permissions import visible_projects

from ..request import Request


@login_required
@require_POST
def switch_project(request: Request) -> HttpResponse:
    """Remember the project until signing out; an empty slug means all."""
    slug = request.POST.get("project", "")
    if slug:
        request.session["project"] = get_object_or_404(visible_projects(request.user), slug=slug).slug
    else:
        request.session.pop("project", None)
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return redirect(back if safe else "home")
