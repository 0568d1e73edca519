"""The scoreboard: what published systems say of themselves, and what became of it here."""

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse

from assay.accounts.models import Project
from assay.claims.board import System, board, count
from assay.claims.models import State

from .. import access, listing
from ..context import current_project, editable_projects
from ..request import Request

PER_PAGE = 25


@dataclass(frozen=True)
class Shown:
    """`row`: how far the experiment is that runs now, None where nothing does."""

    system: System
    row: listing.Row | None


@login_required
def scoreboard(request: Request) -> HttpResponse:
    """Filter (`q`, `engine`, `verdict`) and page by the address, so a view can be shared."""
    project = current_project(request)
    systems = board(request.user, project=project)
    text, engine, verdict = (request.GET.get(name, "").strip()[:200].replace("\0", "")
                             for name in ("q", "engine", "verdict"))
    verdict = verdict if verdict in State.values else ""
    found = [one for one in systems if one.matches(engine, "", text)]
    page = Paginator([one for one in found if one.matches(verdict=verdict)], PER_PAGE).get_page(request.GET.get("page"))
    shown = show(list(page))
    return access.answer(request, "web/scoreboard.html", "web/parts/scoreboard_systems.html", {
        "systems": systems, "page": page, "shown": shown, "live": any(one.row for one in shown),
        "counts": count(found), "engines": sorted({one.engine for one in systems}), "states": State.values,
        "text": text, "engine_chosen": engine, "verdict_chosen": verdict, "filtered": bool(text or engine or verdict),
        "projects": projects(request, project), "claims": sum(one.claim is not None for one in systems),
    })


def show(systems: list[System]) -> list[Shown]:
    running = [one.live.experiment for one in systems if one.live]
    rows = {row.experiment.pk: row for row in listing.counted(running)}
    return [Shown(one, rows[one.live.experiment_id] if one.live else None) for one in systems]


def projects(request: Request, current: Project | None) -> list[Project]:
    """Those in which the person may run a claim, the one they switched to first."""
    return sorted(editable_projects(request.user), key=lambda one: one != current)
