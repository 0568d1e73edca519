"""Settings: one's API tokens, projects, password and single sign-on."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from assay.accounts import audit, sso, tokens
from assay.accounts.models import Role, Scope, Token
from assay.accounts.permissions import may, visible_projects

from ..request import Request


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="what it is for, like “laptop”")
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.WRITE,
                              help_text="at most what your role allows: read; write: start and cancel; admin: members")
    days = forms.IntegerField(min_value=1, max_value=36_500, required=False, initial=90,
                              help_text="until it expires; empty: never")


@login_required
def settings(request: Request) -> HttpResponse:
    """A new token's text is shown on the page that answers its form, and never again."""
    token_form, password_form, shown, status = TokenForm(), PasswordChangeForm(request.user), "", 200
    if request.method == "POST" and request.POST.get("form") == "password":
        password_form = PasswordChangeForm(request.user, request.POST)
        if password_form.is_valid():
            _change_password(request, password_form)
            return redirect("settings")
        status = 422
    elif request.method == "POST":
        token_form = TokenForm(request.POST)
        if token_form.is_valid():
            shown, token_form = _issue(request, token_form.cleaned_data), TokenForm()
        else:
            status = 422
    projects = [(project, may(request.user, Role.ADMIN, project)) for project in visible_projects(request.user)]
    return render(request, "web/settings.html", {
        "token_form": token_form, "password_form": password_form, "shown": shown, "projects": projects,
        "tokens": Token.objects.filter(user=request.user),
        "sso": sso.name(), "identities": sso.identities(request.user),
    }, status=status)


@transaction.atomic
def _change_password(request: Request, form: PasswordChangeForm) -> None:
    update_session_auth_hash(request, form.save())
    audit.record(request.user, "password.change", request.user)
    messages.success(request, "Password changed. Other sessions of yours have ended.")


def _issue(request: Request, data: dict[str, Any]) -> str:
    _, text = tokens.issue(request.user, data["name"], data["scope"], data["days"])
    return text


@login_required
@require_POST
def revoke_token(request: Request, pk: int) -> HttpResponse:
    token = get_object_or_404(Token, pk=pk, user=request.user)
    tokens.revoke(request.user, token)
    messages.success(request, f"Revoked {token.name}.")
    return redirect("settings")
