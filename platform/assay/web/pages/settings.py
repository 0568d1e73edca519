"""Settings: one's API tokens and password, and the members of the projects one administers."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from assay.accounts import audit, membership
from assay.accounts.models import Project, Role, Scope, Token
from assay.accounts.permissions import may, visible_projects

from ..request import Request


class TokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="what it is for, like “laptop”")
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.WRITE,
                              help_text="at most what your role allows: read; write: start and cancel; admin: members")
    days = forms.IntegerField(min_value=1, max_value=36_500, required=False, help_text="until it expires; empty: never")


class MemberForm(forms.Form):
    username = forms.CharField(max_length=150, label="User name")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)


@login_required
def settings(request: Request) -> HttpResponse:
    """Tokens and password; a new token's text is shown on the page that answers its form, and never again."""
    token_form, password_form, shown, status = TokenForm(), PasswordChangeForm(request.user), "", 200
    if request.method == "POST" and request.POST.get("form") == "password":
        password_form = PasswordChangeForm(request.user, request.POST)
        if password_form.is_valid():
            with transaction.atomic():
                update_session_auth_hash(request, password_form.save())
                audit.record(request.user, "password.change", request.user)
            messages.success(request, "Password changed. Other sessions of yours have ended.")
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
    }, status=status)


@transaction.atomic
def _issue(request: Request, data: dict[str, Any]) -> str:
    token, text = Token.issue(request.user, data["name"], data["scope"], data["days"])
    audit.record(request.user, "token.create", token, scope=data["scope"])
    return text


@login_required
@require_POST
@transaction.atomic
def revoke_token(request: Request, pk: int) -> HttpResponse:
    token = get_object_or_404(Token, pk=pk, user=request.user)
    audit.record(request.user, "token.delete", token)
    token.delete()
    messages.success(request, f"Revoked {token.name}.")
    return redirect("settings")


@login_required
def members(request: Request, slug: str) -> HttpResponse:
    """Everybody in the project sees who else is; its admins add, change and remove."""
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    form, status = MemberForm(), 200
    if request.method == "POST":
        form = MemberForm(request.POST)
        if form.is_valid() and _set_role(request, project, form):
            return redirect("project-members", slug)
        status = 422
    return render(request, "web/members.html", {
        "project": project, "form": form, "admin": may(request.user, Role.ADMIN, project), "roles": Role.choices,
        "memberships": project.memberships.select_related("user").order_by("user__username"),
    }, status=status)


def _set_role(request: Request, project: Project, form: MemberForm) -> bool:
    """Whether it was done; what is wrong is added to the form."""
    username, role = form.cleaned_data["username"], Role(form.cleaned_data["role"])
    try:
        membership.set_role(request.user, project, username, role)
    except Http404:
        form.add_error("username", f"There is no user {username}.")
        return False
    except membership.LastAdmin as error:
        messages.error(request, f"Not changed: {error}.")
        return True
    messages.success(request, f"{username} is {role.label.lower()} of {project.name}.")
    return True


@login_required
@require_POST
def remove_member(request: Request, slug: str) -> HttpResponse:
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    username = request.POST.get("username", "")
    try:
        membership.remove(request.user, project, username)
    except membership.LastAdmin as error:
        messages.error(request, f"Not removed: {error}.")
    else:
        messages.success(request, f"{username} is no longer in {project.name}.")
    still_in = visible_projects(request.user).filter(pk=project.pk).exists()
    return redirect("project-members", slug) if still_in else redirect("settings")
