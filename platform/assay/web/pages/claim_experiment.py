"""The page of an experiment that puts a claim to the test: its parts with their verdicts, and the runs."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404

from assay.accounts.models import Role
from assay.accounts.permissions import may
from assay.claims.models import Claim, Judgement, Verdict
from assay.experiments.models import Experiment
from assay.experiments.state import ENDED

from .. import access, listing, runs, styles
from ..request import Request


@dataclass(frozen=True)
class PartRow:
    """`verdict` is None until the claim is judged; of its `total` runs `ended` have."""

    index: int
    name: str
    verdict: Verdict | None
    ended: int
    total: int


def page(request: Request, found: Experiment) -> HttpResponse:
    return access.answer(request, "web/claim_experiment.html", "web/parts/claim_experiment_live.html",
                         _context(request, found))


def _context(request: Request, found: Experiment) -> dict[str, Any]:
    judgement = get_object_or_404(Judgement, experiment=found)
    row = listing.counted([found])[0]
    parts = _parts(found, judgement)
    chosen = next((part for part in parts if str(part.index) == request.GET.get("part")), None)
    some = found.runs.filter(index__in=judgement.parts[chosen.index - 1]["runs"]) if chosen else None
    labels = found.runs.order_by().values_list("method", "label").distinct()
    return runs.table(request, found, row, some) | {
        "experiment": found, "judgement": judgement, "row": row, "parts": parts, "part_chosen": chosen,
        "live": judgement.judged_at is None, "running": row.ended < row.total, "share": runs.share(found, row),
        "styles": styles.of_engine(found.engine, labels), "editor": may(request.user, Role.EDITOR, found.project),
        "announced": Claim.objects.filter(engine=judgement.engine, system=judgement.system).exists(),
    }


def _parts(found: Experiment, judgement: Judgement) -> list[PartRow]:
    """The parts as they stood when the runs were asked for, with verdicts by name."""
    verdicts = {one.part: one for one in judgement.verdicts.all()}
    ended = set(found.runs.filter(state__in=ENDED).values_list("index", flat=True))
    return [
        PartRow(index, part["name"], verdicts.get(part["name"]), len(ended & set(part["runs"])), len(part["runs"]))
        for index, part in enumerate(judgement.parts, 1)
    ]
