"""What the pages say."""

import json
import re

import pytest
from assay.experiments.models import Experiment, Run
from assay.experiments.submission import parse, submit
from assay.fleet.models import Node
from assay.web import waiting
from assay.web.pages.run import command

from tests.announced import People, request_body
from tests.web.signed_in import browser, end

HOSTILE = '<script>alert("x")</script><b>bold</b> {{ 1 }} \' "'


def text_of(people: People, path: str) -> str:
    return browser(people.viewer).get(path).content.decode()


def test_results(experiment: Experiment, people: People) -> None:
    text = text_of(people, f"/experiments/{experiment.pk}")
    assert "0.255" in text and "± 0.007" in text
    assert "200 MB" in text
    assert "diverged" in text
    assert "3/4" in text


def test_runs_are_sorted_and_paged(toy: None, people: People, node: Node) -> None:
    found = submit(people.editor, parse(request_body(seeds=list(range(40)))))
    for run in found.runs.filter(method="descent"):
        end(run, node, summary={"loss": (run.seed * 7) % 40 + 0.125}, cost={"seconds": 1.0 + run.seed})

    def shown(query: str) -> list[int]:
        text = text_of(people, f"/experiments/{found.pk}?{query}")
        return [int(pk) for pk in re.findall(r'name="run" value="(\d+)"', text)]

    def expected(*order: object) -> list[int]:
        return list(found.runs.order_by(*order, "-pk").values_list("pk", flat=True))

    by_index = list(found.runs.order_by("index").values_list("pk", flat=True))
    assert shown("") == by_index[:50] and shown("runs=2") == by_index[50:] and shown("sort=nonsense") == by_index[:50]
    assert shown("sort=-run") == by_index[::-1][:50]
    assert shown("sort=-seed") == expected("-seed")[:50] and shown("sort=method&runs=2") == expected("label")[50:]
    losses = {run.pk: run.summary.get("loss") for run in found.runs.all()}
    best_first = sorted((pk for pk in losses if losses[pk] is not None), key=lambda pk: losses[pk] or 0)
    assert shown("sort=result")[:40] == best_first and shown("sort=-result")[:40] == best_first[::-1]
    slowest = list(found.runs.filter(method="descent").order_by("-seed").values_list("pk", flat=True))
    assert shown("sort=-seconds&state=succeeded") == slowest
    text = text_of(people, f"/experiments/{found.pk}?sort=result&runs=2")
    assert "Page 2 of 2" in text and "sort=-result#" not in text and 'href="?sort=-result"' in text


def test_a_winner_is_bold(toy: None, people: People, node: Node) -> None:
    found = submit(people.editor, parse(request_body()))
    for run in found.runs.all():
        end(run, node, summary={"loss": 1.0 if run.method == "dice" else 0.5 + run.seed / 1000, "accuracy": 0.1})
    text = text_of(people, f"/experiments/{found.pk}?reference=dice")
    row = text[text.index("descent</a>"):]
    assert "best" in row[:row.index("</tr>")] and "better" in row[:row.index("</tr>")]
    dice = text[text.index("dice</a>"):]
    assert "reference" in dice[:dice.index("</tr>")]
    assert "descent" in text_of(people, "/") and "succeeded" in text_of(people, "/experiments")


def test_curves_are_gaps_where_not_finite(experiment: Experiment, people: People) -> None:
    answer = json.loads(text_of(people, f"/experiments/{experiment.pk}/curves"), parse_constant=pytest.fail)
    assert not answer["ended"]
    (panel,) = answer["panels"]
    assert panel["title"] == "Loss"
    band, mean = panel["traces"]
    assert mean["x"] == [0, 1, 2, 3, 4] and mean["y"][2] is None
    assert mean["y"][0] == pytest.approx(1.005) and mean["name"] == "descent (mean of 2)"
    assert max(band["y"]) == pytest.approx(1.01) and min(band["y"]) == pytest.approx(0.25)
    seconds = json.loads(text_of(people, f"/experiments/{experiment.pk}/curves?x=seconds"))
    assert seconds["panels"][0]["traces"][1]["x"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_failed_run_says_what_to_do(experiment: Experiment, people: People) -> None:
    run = experiment.runs.get(state="failed")
    text = text_of(people, f"/runs/{run.pk}")
    assert "loss is not finite at step 3" in text and "smaller learning rate" in text


def test_a_run_shows_where_it_comes_from(experiment: Experiment, people: People) -> None:
    run = experiment.runs.filter(state="succeeded").earliest("index")
    text = text_of(people, f"/runs/{run.pk}")
    for part in ("table.csv", "1.23 kB", "first line", "torch", "not finite", "1.5 s", run.spec_hash[:12], "bench/cpu"):
        assert part in text, part


def test_the_log_goes_on_where_it_was_left(experiment: Experiment, people: People) -> None:
    run = experiment.runs.filter(state="succeeded").earliest("index")
    first = json.loads(text_of(people, f"/runs/{run.pk}/log?attempt={run.attempt}&after=11"))
    assert first == {"attempt": run.attempt, "text": "second line\n", "next": 23, "same": True, "ended": True}
    other = json.loads(text_of(people, f"/runs/{run.pk}/log?attempt=99&after=11"))
    assert other["text"].startswith("first line") and not other["same"]


def test_the_command_that_reproduces() -> None:
    spec = {"engine": "toy", "problem": {"id": "bowl", "dimensions": 2}, "seed": 3, "budget": {"steps": 10},
            "method": {"id": "descent", "lr": 0.1, "momentum": None, "rule": "a b", "betas": [0.9, 0.99]}}
    assert command(spec) == ("python manage.py run toy bowl descent --set problem.dimensions=2 --set method.lr=0.1 "
                             "--set 'method.rule=a b' --set 'method.betas=[0.9, 0.99]' --steps 10 --seed 3")
    assert command(spec | {"budget": {"flops": 10}}) == ""


def test_why_a_run_waits(experiment: Experiment, node: Node) -> None:
    run: Run = experiment.runs.get(state="queued")

    def why(**fields: object) -> str:
        for name, value in fields.items():
            setattr(node, name, value)
        node.save()
        return waiting.reason(run)

    assert "No worker is online" in why(stopped=True)
    assert "serves the queue 'cpu'" in why(stopped=False, queues=["gpu"])
    assert "offers toy/dice" in why(queues=["cpu"], offers={})
    assert "another version" in why(offers={"toy/dice": "other"})
    assert "it is next" in why(offers={"toy/dice": run.version})
    run.spec["resources"]["labels"] = ["a100"]
    assert "labels a100" in why()
    run.spec["resources"] |= {"labels": [], "gpus": 2}
    assert "2 GPUs" in why()
    Node.objects.create(name="other", hostname="other", slots=1, cores=1, memory=2**30, queues=["cpu"],
                        hardware={"gpus": 2}, heartbeat_at=node.heartbeat_at, offers=node.offers)
    assert "2 GPUs" in why()  # the one with GPUs lacks the problem


def test_hostile_names_are_text(toy: None, people: People) -> None:
    body = request_body(name=HOSTILE, notes=HOSTILE, tags=["<i>tag</i>"])
    found = submit(people.editor, parse(body))
    client = browser(people.editor)
    for path in ("/", "/experiments", f"/experiments/{found.pk}", f"/runs/{found.runs.earliest('index').pk}",
                 f"/experiments/new?clone={found.pk}", "/search?q=%3Cscript%3Ealert(1)"):
        text = client.get(path).content.decode()
        assert "<script>alert" not in text and "<b>bold" not in text and "<i>tag" not in text, path
        assert "&lt;script&gt;alert" in text, path


def test_docs_are_text_too(toy: None, people: People) -> None:
    from assay.web.prose import prose

    assert "<script" not in prose("<script>x</script> **b** ![i](https://evil.example/i.png) [l](javascript:alert(1))")
    assert "<strong>b</strong>" in prose("**b**")
    assert 'src="' not in prose("![i](https://evil.example/i.png)")
    assert "href=\"javascript" not in prose("[l](javascript:alert(1))")


def test_filters(experiment: Experiment, people: People) -> None:
    for query in ("q=FIRST", "q=warm", "q=descent+lab", "state=failed", "state=live", "problem=bowl", "sort=name",
                  "sort=-owner", "sort=nonsense", "page=99"):
        found = "/experiments/" + str(experiment.pk) in text_of(people, "/experiments?" + query)
        assert found == (query != "q=descent+lab"), query
    for query in ("q=nothing", "state=lost", "problem=cliff", "owner=me"):
        assert "Nothing matches" in text_of(people, "/experiments?" + query), query


def test_a_part_is_not_kept_for_the_page(experiment: Experiment, people: People) -> None:
    client = browser(people.viewer)
    for path in ("/", "/fleet", f"/experiments/{experiment.pk}", f"/runs/{experiment.runs.earliest('pk').pk}"):
        page, part = client.get(path), client.get(path, headers={"HX-Request": "true"})
        assert b"<html" in page.content and b"<html" not in part.content
        assert "HX-Request" in page["Vary"] and "HX-Request" in part["Vary"]


def test_every_page_has_an_icon(people: People) -> None:
    assert browser(people.viewer).get("/favicon.ico").headers["Location"] == "/static/web/icon.svg"


def test_search_jumps(experiment: Experiment, people: People) -> None:
    client = browser(people.viewer)
    assert client.get(f"/search?q=%23{experiment.pk}")["Location"] == f"/experiments/{experiment.pk}"
    second = experiment.runs.get(index=2)
    assert client.get(f"/search?q=%23{experiment.pk}/2")["Location"] == f"/runs/{second.pk}"
    assert "/catalogue/toy/methods/descent" in client.get("/search?q=desc").content.decode()
    assert browser(people.stranger).get(f"/search?q=%23{experiment.pk}").status_code == 200


def test_empty_states(people: People) -> None:
    editor = browser(people.editor)
    assert "No worker is online" in editor.get("/").content.decode()
    assert "New experiment" in editor.get("/experiments").content.decode()
    for path in ("/catalogue", "/fleet", "/experiments/new"):
        assert "manage.py worker" in editor.get(path).content.decode(), path


def test_cancel_rerun_delete(experiment: Experiment, people: People) -> None:
    client = browser(people.editor)
    assert client.post(f"/experiments/{experiment.pk}/cancel", follow=True).status_code == 200
    assert experiment.runs.filter(state="cancelled").count() == 1
    again = client.post(f"/experiments/{experiment.pk}/rerun")["Location"]
    assert again != f"/experiments/{experiment.pk}" and client.get(again).status_code == 200
    run = experiment.runs.earliest("index")
    alone = client.post(f"/runs/{run.pk}/rerun")["Location"]
    assert alone.startswith("/runs/") and client.post(f"{alone}/cancel", follow=True).status_code == 200
    wrong = client.post(f"/experiments/{experiment.pk}/delete", {"confirm": "frist"}, follow=True)
    assert b"Not deleted" in wrong.content
    assert b"Deleted" in client.post(f"/experiments/{experiment.pk}/delete", {"confirm": "first"}, follow=True).content
    assert not Experiment.objects.filter(pk=experiment.pk).exists()


def test_pages_ask_few_questions(experiment: Experiment, people: People, django_assert_max_num_queries: object) -> None:
    client = browser(people.viewer)
    for path, most in (("/", 22), ("/experiments", 18), (f"/experiments/{experiment.pk}", 26)):
        with django_assert_max_num_queries(most):  # type: ignore[operator]
            client.get(path)
