"""What the shell around every page shows: navigation, projects, search."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject

from assay.accounts.models import Project, Role, User
from assay.accounts.permissions import RANK, visible_projects

NAVIGATION = (
    ("home", "Home", "house", ("home",)),
    ("experiments", "Experiments", "list-ul", ("experiment", "run")),
    ("sweeps", "Sweeps", "sliders", ("sweeps", "sweep-")),
    ("catalogue", "Catalogue", "journal-code", ("catalogue",)),
    ("scoreboard", "Scoreboard", "clipboard-check", ("scoreboard", "claim")),
    ("fleet", "Fleet", "hdd-rack", ("fleet",)),
)
DASHBOARDS: list[tuple[str, str, str]] = []  # (url name, title, icon): filled in by `dashboards.urls`


@dataclass(frozen=True)
class Link:
    title: str
    url: str
    icon: str
    current: bool


def shell(request: HttpRequest) -> dict[str, Any]:
    """The template variable `shell`, made only where a template asks for it."""
    return {"shell": SimpleLazyObject(lambda: _shell(request))}


def _shell(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"navigation": [], "query": ""}
    name = (request.resolver_match.url_name or "") if request.resolver_match else ""
    section = getattr(request, "section", "")  # said by a view whose address is not in its part of the navigation
    compare = compare_url()
    return {
        "navigation": [
            Link(title, reverse(view), icon, section == view or (not section and any(map(name.startswith, parts))))
            for view, title, icon, parts in NAVIGATION
        ],
        "dashboards": [Link(title, reverse(view), icon, name == view) for view, title, icon in DASHBOARDS],
        "compare": compare,
        "projects": list(visible_projects(user)),
        "project": current_project(request),
        "may_edit": may_edit_any(user),
        "query": request.GET.get("q", "")[:200] if name == "search" else "",
    }


def compare_url() -> str:
    """Where the dashboard `Compare` lies; empty when no dashboards are mounted."""
    return dashboard_url("compare")


def dashboard_url(name: str) -> str:
    """Where a dashboard lies; empty when it is not mounted."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def current_project(request: HttpRequest) -> Project | None:
    """The project that the person switched to, as long as they may see it; None means all."""
    slug = request.session.get("project") if hasattr(request, "session") else None
    if not slug or not isinstance(request.user, User):
        return None
    return visible_projects(request.user).filter(slug=slug).first()


def editable_projects(user: User) -> list[Project]:
    """The projects in which `user` may start experiments."""
    if user.is_superuser:
        return list(Project.objects.all())
    enough = [role for role, rank in RANK.items() if rank >= RANK[Role.EDITOR]]
    return list(Project.objects.filter(memberships__user=user, memberships__role__in=enough))


def may_edit_any(user: User) -> bool:
    return bool(editable_projects(user))
