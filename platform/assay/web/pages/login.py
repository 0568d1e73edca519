"""Coming in and going out."""

from typing import Any

from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from assay.accounts import sso


class Login(LoginView):
    template_name = "web/login.html"
    redirect_authenticated_user = True

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        """Nobody gets in without their entry in the audit log."""
        return super().form_valid(form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"sso": sso.name()}


class Logout(LogoutView):
    """POST only; back to the login page."""


@never_cache
@require_POST
def sso_begin(request: HttpRequest) -> HttpResponse:
    """To the identity provider; `connect` is said by the settings page.

    By a page that goes on by itself: a redirect after a form would have to be allowed by the policy `form-action`, for
    the provider and all that it redirects to.
    """
    if not sso.name():
        raise Http404
    connect = "connect" in request.POST
    if connect and not request.user.is_authenticated:
        return redirect("login")
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    try:
        url = sso.begin(request, back if safe else "", connect=connect)
    except sso.Refused as refused:
        return _refused(request, refused)
    return render(request, "web/sso_leave.html", {"url": url, "sso": sso.name()})


@never_cache
@require_safe
def sso_callback(request: HttpRequest) -> HttpResponse:
    """Where the identity provider sends people back to."""
    if not sso.name():
        raise Http404
    try:
        return sso.finish(request)
    except sso.Refused as refused:
        return _refused(request, refused)


def _refused(request: HttpRequest, refused: sso.Refused) -> HttpResponse:
    return render(request, "web/sso_refused.html", {"why": str(refused), "sso": sso.name()}, status=403)
