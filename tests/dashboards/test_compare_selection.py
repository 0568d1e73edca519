"""The URL says the view, and nothing a URL says breaks it."""

from hypothesis import given
from hypothesis import strategies as st

from dashboards.choice import Choice
from dashboards.figures.curves import MOST_GROUPS, MOST_SMOOTH, Display
from dashboards.pages.compare import MOST_METRICS, Selection
from dashboards.queries.choice import MOST_IDS
from dashboards.selection import LARGEST_ID, parse, search

ids = st.lists(st.integers(1, LARGEST_ID), unique=True, max_size=8).map(tuple)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
some_names = st.lists(names, unique=True, max_size=5).map(tuple)
ends = st.none() | st.floats(allow_nan=False, allow_infinity=False)
displays = st.builds(Display, st.sampled_from(["step", "seconds", "energy"]),
                     st.lists(names, unique=True, min_size=1, max_size=MOST_GROUPS).map(tuple),
                     st.sampled_from(["minmax", "std", "bootstrap", "none"]), st.floats(0, MOST_SMOOTH), st.booleans(),
                     st.booleans(), ends, ends)
choices = st.builds(Choice, ids, some_names, some_names, some_names, some_names, some_names, names, ids)
selections = st.builds(Selection, choices, st.lists(names, unique=True, max_size=MOST_METRICS).map(tuple), displays,
                       names)


@given(selections)
def test_what_is_written_is_read_back(selection: Selection) -> None:
    assert parse(Selection, search(selection)) == selection


def test_the_links_of_other_pages() -> None:
    assert parse(Selection, "?experiment=12") == Selection(Choice(experiments=(12,)))
    assert parse(Selection, "?run=1&run=2") == Selection(Choice(runs=(1, 2)))
    assert search(Selection()) == ""
    assert search(Selection(Choice(experiments=(12,)), metrics=("val/loss",))) == "?experiment=12&metric=val%2Floss"


@given(st.text(max_size=200))
def test_any_text_is_read_as_some_selection(text: str) -> None:
    selection = parse(Selection, text)
    assert parse(Selection, search(selection)) == selection


def test_what_makes_no_sense_is_left_out() -> None:
    wrong = "?experiment=x&experiment=-1&experiment=0&experiment=99999999999999999999&experiment=٣&run=2&run=2"
    wrong += "&x=time&band=iqr&smooth=7&smooth=nan&group=&log_x=yes&other=1&first=inf&text=%00&method=a%00&metric=%00"
    assert parse(Selection, wrong) == Selection(Choice(runs=(2,)))
    assert parse(Selection, None) == parse(Selection, "") == Selection()
    assert parse(Selection, "?" + "&".join(["run=1"] * 5000)) == Selection()


def test_no_url_asks_for_more_than_can_be_drawn() -> None:
    runs, metrics = (f"run={number}" for number in range(1, 900)), (f"metric={number}" for number in range(99))
    selection = parse(Selection, "?" + "&".join([*runs, *metrics]))
    assert len(selection.choice.runs) == MOST_IDS and len(selection.metrics) == MOST_METRICS
