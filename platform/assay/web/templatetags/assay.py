"""Tags and filters of Assay's pages."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from assay.claims.models import State as Verdict
from assay.experiments.models import State
from assay.notifications.models import MailChoice, When

from .. import numbers
from ..fields import to_text, words
from ..prose import code_block, prose
from ..styles import Style

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the sprite; decoration only, so the words stand beside it."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>',
                       static("web/vendor/icons.svg"), name)


MISSING = SafeString('<span class="muted">–</span>')
BYTE_UNITS = ("B", "bytes")
DASH_ARRAYS = {
    "solid": "none", "dash": "6 3", "dot": "2 3", "dashdot": "6 3 2 3", "longdash": "10 3", "longdashdot": "10 3 2 3",
}
STATE_ICONS = {
    State.QUEUED: "hourglass-split", State.RUNNING: "play-circle-fill", State.SUCCEEDED: "check-circle-fill",
    State.FAILED: "x-circle-fill", State.CANCELLED: "slash-circle-fill", State.TIMED_OUT: "clock-fill",
    State.LOST: "question-circle-fill",
}

VERDICTS = {  # the colour of a run's state, and an icon
    Verdict.HOLDS: ("succeeded", "check-circle-fill"), Verdict.DIRECTION_ONLY: ("cancelled", "arrow-up"),
    Verdict.DOES_NOT_HOLD: ("failed", "x-circle-fill"), Verdict.NOT_AT_THIS_SIZE: ("lost", "slash-circle-fill"),
    Verdict.LOSES_HERE: ("timed_out", "arrow-down"), Verdict.MEASURED: ("running", "info-circle-fill"),
    Verdict.BACKEND_MISSING: ("cancelled", "exclamation-triangle-fill"),
    Verdict.NOT_RUN: ("queued", "question-circle-fill"),
}


@register.simple_tag
def state(value: str, words: str = "") -> SafeString:
    """A state: icon, word and colour."""
    known = State(value)
    return format_html('<span class="state state-{}">{}{}</span>', known, icon(STATE_ICONS[known]),
                       words or State(known).label.lower())


@register.simple_tag
def verdict(value: str, words: str = "") -> SafeString:
    """What became of a part of a claim: icon, word and colour."""
    colour, name = VERDICTS[Verdict(value)]
    return format_html('<span class="state state-{}">{}{}</span>', colour, icon(name), words or value)


@register.simple_tag
def sweep_status(value: str) -> SafeString:
    """A sweep's status in the colours of states."""
    looks = {"running": State.RUNNING, "finished": State.SUCCEEDED, "stopped": State.CANCELLED, "failed": State.FAILED}
    return state(looks[value], value)


@register.simple_tag
def number(value: Any, unit: str = "") -> SafeString:
    """A number in short, the full value on hover."""
    if value is None or isinstance(value, str):
        return format_html("{}", numbers.short(value))
    scale = numbers.size if unit in BYTE_UNITS else numbers.duration if unit == "s" else numbers.short
    text = scale(value)
    full = f"{value!r} {unit}".strip()
    return format_html('<span title="{}">{}</span>', full, text)


@register.simple_tag
def spread(mean: float | None, std: float | None, unit: str = "") -> SafeString:
    """Mean ± spread in one cell, full values on hover."""
    if mean is None:
        return MISSING
    scale = numbers.size if unit in BYTE_UNITS else numbers.short
    if std is None:
        return format_html('<span title="{}">{}</span>', repr(mean), scale(mean))
    shown = numbers.size_like(std, mean) if unit in BYTE_UNITS else numbers.like(std, mean)
    both = format_html('{} <span class="spread">± {}</span>', scale(mean), shown)
    return format_html('<span title="{} ± {}">{}</span>', repr(mean), repr(std), both)


@register.simple_tag
def ago(moment: datetime | None) -> SafeString:
    """How long ago, kept current by the page's script; the moment itself without it and on hover."""
    if moment is None:
        return MISSING
    return format_html('<time datetime="{}" title="{} UTC" data-ago>{}</time>', moment.isoformat(),
                       f"{moment:%Y-%m-%d %H:%M:%S}", f"{moment:%Y-%m-%d %H:%M}")


@register.simple_tag(takes_context=True)
def query(context: Mapping[str, Any], **changes: Any) -> str:
    """The page's address with some of its query changed; an empty value removes a key."""
    request: HttpRequest = context["request"]
    values = request.GET.copy()
    for key, value in changes.items():
        if value in ("", None):
            values.pop(key, None)
        else:
            values[key] = str(value)
    return f"?{values.urlencode()}" if values else request.path


@register.filter
def first_paragraph(docs: str) -> str:
    """The start of a docstring, on one line."""
    return " ".join(docs.strip().split("\n\n")[0].split()).replace("`", "")


@register.filter
def duration(seconds: float | None) -> str:
    return numbers.duration(seconds)


@register.filter
def about(seconds: float) -> str:
    return numbers.about(seconds)


@register.filter
def filesize(count: float | None) -> str:
    return numbers.size(count)


@register.filter
def get(mapping: Mapping[str, Any], key: str) -> Any:
    return mapping.get(key)


register.filter("words", words)
register.filter("prose", prose)
register.filter("code_block", code_block)


@register.simple_tag
def percent(share: float) -> str:
    """0.314 as "31 %"; never 100 % before the end."""
    return f"{int(min(max(share, 0.0), 1.0) * 100)} %"


@register.simple_tag(takes_context=True)
def sort_head(context: Mapping[str, Any], title: str, key: str) -> SafeString:
    """A column head that sorts; a second press turns the order round."""
    now = context["request"].GET.get("sort", context.get("default_sort", ""))
    arrow = icon("arrow-down") if now == f"-{key}" else icon("arrow-up") if now == key else ""
    address = query(context, sort=key if now == f"-{key}" else f"-{key}", page="", runs="")
    return format_html('<a href="{}">{}{}</a>', address, title, arrow)


@register.simple_tag
def swatch(styles: Mapping[str, Style], label: str) -> SafeString:
    """The line that a label has in the curves."""
    style = styles.get(label)
    if style is None:
        return SafeString("")
    return format_html('<svg class="swatch" viewBox="0 0 22 6" aria-hidden="true"><path d="M0 3H22" stroke="{}"'
                       ' stroke-width="3" stroke-dasharray="{}"/></svg>', style.colour, DASH_ARRAYS[style.dash])


@register.simple_tag
def p_value(p: float) -> SafeString:
    """A probability to two digits; below 0.001 only that."""
    return format_html('<span title="{}">{}</span>', repr(p), "< 0.001" if p < 0.001 else f"{p:.2g}")


@register.simple_tag
def signed(value: float) -> SafeString:
    """A difference with its sign."""
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return format_html('<span title="{}">{}{}</span>', repr(value), sign, numbers.short(abs(value), 2))


@register.simple_tag
def value_text(value: Any) -> str:
    """A parameter as a person would type it."""
    return "none" if value is None else "yes" if value is True else "no" if value is False else to_text(value)


@register.inclusion_tag("web/parts/mail_choice.html", takes_context=True)
def mail_choice(context: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the settings page where one chooses whether to get mails."""
    user = context["request"].user
    chosen = MailChoice.objects.filter(user=user).first()
    return {"server": bool(settings.EMAIL_HOST), "address": user.email, "chosen": chosen.when if chosen else "",
            "choices": [("", "never"), *When.choices]}


@register.simple_tag
def form_control(field: BoundField) -> SafeString:
    """A Django form's control in the pages' dress."""
    select = getattr(field.field.widget, "input_type", "") == "select"
    return field.as_widget(attrs={"autofocus": False, "class": "form-select" if select else "form-control"})
