"""Projects: making and naming them, and choosing their members."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_POST

from assay.accounts import membership
from assay.accounts.models import Project, Role
from assay.accounts.permissions import may, visible_projects

from ..request import Request


class ProjectForm(forms.Form):
    name = forms.CharField(max_length=200, help_text="as people read it; it can be changed")
    slug = forms.RegexField(r"^[a-z0-9][a-z0-9-]*\Z", max_length=64, required=False, label="Short name",
                            help_text="by which scripts know it, for good; empty: made from the name",
                            error_messages={"invalid": "Use small letters, digits, hyphens; no hyphen first."})

    def clean(self) -> None:
        data = self.cleaned_data
        if "name" in data and "slug" in data and not data["slug"]:
            data["slug"] = slugify(data["name"])[:64].strip("-_").replace("_", "-")
            if not data["slug"]:
                self.add_error("slug", "The name has no letter or digit that a short name can have: give one.")


class NameForm(forms.Form):
    name = forms.CharField(max_length=200)


class MemberForm(forms.Form):
    username = forms.CharField(max_length=150, label="User name")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.VIEWER)


@login_required
def new_project(request: Request) -> HttpResponse:
    """Whoever is signed in may make one, and is its admin."""
    form, status = ProjectForm(), 200
    if request.method == "POST":
        form = ProjectForm(request.POST)
        if form.is_valid() and (made := _made(request, form)):
            messages.success(request, f"{made.name} is yours. Add its members here.")
            return redirect("project-members", made.slug)
        status = 422
    return render(request, "web/project_new.html", {"form": form}, status=status)


def _made(request: Request, form: ProjectForm) -> Project | None:
    """What is wrong is added to the form."""
    data = form.cleaned_data
    try:
        return membership.create_project(request.user, data["slug"], data["name"])
    except IntegrityError:
        form.add_error("slug", f"There is a project {data['slug']} already: choose another short name.")
        return None


@login_required
@require_POST
def rename(request: Request, slug: str) -> HttpResponse:
    project = get_object_or_404(visible_projects(request.user), slug=slug)
    form = NameForm(request.POST)
    if form.is_valid():
        membership.rename(request.user, project, form.cleaned_data["name"])
        messages.success(request, f"The project is called {project.name} now.")
    else:
        messages.error(request, f"Not renamed: {' '.join(map(str, form.errors['name']))}")
    return redirect("project-members", slug)


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
