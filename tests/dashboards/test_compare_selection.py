"""The URL says the view, and nothing a URL says breaks it."""

from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures.curves import MOST_SMOOTH, Display
from dashboards.pages.compare import MOST_IDS, MOST_METRICS, Selection
from dashboards.selection import LARGEST_ID, parse, search

ids = st.lists(st.integers(1, LARGEST_ID), unique=True, max_size=8).map(tuple)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
displays = st.builds(Display, st.sampled_from(["step", "seconds"]), st.sampled_from(["label", "run"]),
                     st.sampled_from(["minmax", "std", "none"]), st.floats(0, MOST_SMOOTH), st.booleans(),
                     st.booleans())
selections = st.builds(Selection, ids, ids, st.lists(names, unique=True, max_size=MOST_METRICS).map(tuple), displays)


@given(selections)
def test_what_is_written_is_read_back(selection: Selection) -> None:
    assert parse(Selection, search(selection)) == selection


def test_the_links_of_other_pages() -> None:
    assert parse(Selection, "?experiment=12") == Selection(experiments=(12,))
    assert parse(Selection, "?run=1&run=2") == Selection(runs=(1, 2))
    assert search(Selection()) == ""
    assert search(Selection(experiments=(12,), metrics=("val/loss",))) == "?experiment=12&metric=val%2Floss"


@given(st.text(max_size=200))
def test_any_text_is_read_as_some_selection(text: str) -> None:
    selection = parse(Selection, text)
    assert parse(Selection, search(selection)) == selection


def test_what_makes_no_sense_is_left_out() -> None:
    wrong = "?experiment=x&experiment=-1&experiment=0&experiment=99999999999999999999&experiment=٣&run=2&run=2"
    wrong += "&x=time&band=iqr&smooth=7&smooth=nan&group=&log_x=yes&other=1"
    assert parse(Selection, wrong) == Selection(runs=(2,))
    assert parse(Selection, None) == parse(Selection, "") == Selection()
    assert parse(Selection, "?" + "&".join(["run=1"] * 5000)) == Selection()


def test_no_url_asks_for_more_than_can_be_drawn() -> None:
    runs, metrics = (f"run={number}" for number in range(1, 900)), (f"metric={number}" for number in range(99))
    selection = parse(Selection, "?" + "&".join([*runs, *metrics]))
    assert len(selection.runs) == MOST_IDS and len(selection.metrics) == MOST_METRICS
