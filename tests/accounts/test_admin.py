"""Every model has its admin pages, and what machines write is not changed there."""

import pytest
from assay.accounts.models import Token, User
from assay.experiments.models import Run
from assay.experiments.submission import parse, submit
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from tests.announced import People, request_body

OURS = [model for app in ("accounts", "catalogue", "experiments", "fleet")
        for model in apps.get_app_config(app).get_models() if not model._meta.auto_created]


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_list_pages(root: Client, toy: None, people: People, model: type) -> None:
    submit(people.editor, parse(request_body()))
    Token.issue(people.editor, "one")
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert admin.site.is_registered(model)
    query = {"q": "x"} if admin.site.get_model_admin(model).search_fields else {}
    assert root.get(reverse(f"{name}_changelist"), query).status_code == 200
    if (first := model.objects.first()) is not None:
        assert root.get(reverse(f"{name}_change", args=[first.pk])).status_code == 200


def test_a_runs_state_cannot_be_changed(root: Client, toy: None, people: People) -> None:
    run = submit(people.editor, parse(request_body())).runs.get(index=1)
    assert root.post(reverse("admin:experiments_run_change", args=[run.pk]), {"state": "succeeded"}).status_code == 403
    assert Run.objects.get(pk=run.pk).state == "queued"


def test_a_token_can_be_revoked_and_not_read(root: Client, people: People) -> None:
    token, _ = Token.issue(people.editor, "one")
    assert token.digest not in root.get(reverse("admin:accounts_token_change", args=[token.pk])).text
    assert root.post(reverse("admin:accounts_token_delete", args=[token.pk]), {"post": "yes"}).status_code == 302
    assert not Token.objects.exists()


def test_only_staff_gets_in(client: Client, people: People) -> None:
    client.force_login(people.admin)
    assert client.get(reverse("admin:index")).status_code == 302
