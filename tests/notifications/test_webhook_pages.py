"""A project's webhooks, by page and by API: who may, what is said, what is kept."""

from typing import Any

import pytest
from assay.accounts.models import AuditEntry
from assay.notifications import outbox
from assay.notifications.models import Delivery, Progress, Webhook
from django.urls import reverse

from tests.announced import People, client_for
from tests.notifications.receiver import Receiver
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db
PAGE = "/projects/lab/notifications"
API = "/api/v1/projects/lab/webhooks"


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("editor", 403), ("admin", 200), ("stranger", 404)])
def test_only_admins_see_and_change(role: str, status: int, people: People, webhook: Webhook) -> None:
    client = browser(people.by_role(role))
    assert client.get(PAGE).status_code == status
    delivery = outbox.send_test(webhook)
    Delivery.objects.update(progress=Progress.GAVE_UP)
    for name, pk in (("webhook-test", webhook.pk), ("webhook-rotate", webhook.pk), ("delivery-retry", delivery.pk),
                     ("webhook-delete", webhook.pk)):
        expected = status if status != 200 or name == "webhook-rotate" else 302
        assert client.post(reverse(name, args=[pk])).status_code == expected
    assert Webhook.objects.exists() == (role != "admin")


def test_the_secret_is_shown_once(people: People, receiver: Receiver) -> None:
    client = browser(people.admin)
    answer = client.post(PAGE, {"url": receiver.url, "when": "failed"})
    webhook = Webhook.objects.get()
    assert webhook.secret in answer.content.decode() and answer["Cache-Control"] == "no-store"
    assert webhook.secret not in client.get(PAGE).content.decode()
    rotated = client.post(f"/webhooks/{webhook.pk}/secret").content.decode()
    fresh = Webhook.objects.get().secret
    assert fresh != webhook.secret and fresh in rotated and webhook.secret not in rotated
    assert fresh.removeprefix("whsec_") not in str(list(Webhook.objects.values()))  # a copy of the database has it not
    actions = AuditEntry.objects.filter(user=people.admin, project=people.project).values_list("action", flat=True)
    assert sorted(actions) == ["webhook.create", "webhook.rotate"]


@pytest.mark.parametrize("url", ["http://example.org/", "https://127.0.0.1/", "https://user:pw@example.org/", ""])
def test_a_bad_address_is_refused_with_the_reason(url: str, people: People) -> None:
    answer = browser(people.admin).post(PAGE, {"url": url, "when": "ended"})
    assert answer.status_code == 422 and "field-invalid" in answer.content.decode()
    told = client_for(people.admin, "admin").post(API, {"url": url}, content_type="application/json")
    assert told.status_code == 422 and list(told.json()["error"]["fields"]) == ["url"]
    assert not Webhook.objects.exists()


def test_a_test_is_sent_and_shown(people: People, webhook: Webhook, receiver: Receiver) -> None:
    client = browser(people.admin)
    page = client.post(f"/webhooks/{webhook.pk}/test", follow=True).content.decode()
    assert "on its way" in page and "every 3s" in page
    receiver.statuses = [500, 204]
    outbox.deliver_due()
    assert "answered 500" in client.get(PAGE).content.decode()
    Delivery.objects.update(next_at=Delivery.objects.get().created_at)
    outbox.deliver_due()
    part = client.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert "delivered" in part and "every 3s" not in part and "<html" not in part


def test_what_was_given_up_can_be_tried_again(people: People, webhook: Webhook, receiver: Receiver) -> None:
    outbox.send_test(webhook)
    Delivery.objects.update(progress=Progress.GAVE_UP, attempt=7, problem="answered 500")
    client, pk = browser(people.admin), Delivery.objects.get().pk
    assert "Try again" in client.get(PAGE).content.decode()
    client.post(f"/deliveries/{pk}/retry")
    assert outbox.deliver_due() == 1 and Delivery.objects.get().progress == Progress.DELIVERED
    again = client.post(f"/deliveries/{pk}/retry", follow=True).content.decode()
    assert "Not tried again" in again


def test_at_most_ten(people: People, settings: Any) -> None:
    client = client_for(people.admin, "admin")
    for number in range(10):
        made = client.post(API, {"url": f"https://example.org/{number}"}, content_type="application/json")
        assert made.status_code == 201
    assert client.post(API, {"url": "https://example.org/"}, content_type="application/json").status_code == 409
    page = browser(people.admin).post(PAGE, {"url": "https://example.org/", "when": "ended"})
    assert page.status_code == 422 and "at most 10" in page.content.decode()


def test_the_same_by_api(people: People, receiver: Receiver) -> None:
    client = client_for(people.admin, "admin")
    made = client.post(API, {"url": receiver.url, "when": "failed"}, content_type="application/json").json()
    pk = made["id"]
    assert made["secret"] == Webhook.objects.get().secret and made["when"] == "failed"
    assert [set(one) for one in client.get(API).json()] == [{"id", "url", "when", "created_at"}]
    test = client.post(f"/api/v1/webhooks/{pk}/test")
    assert test.status_code == 202 and test.json()["progress"] == "waiting" and test.json()["event"] == "test"
    outbox.deliver_due()
    (told,) = client.get(f"/api/v1/webhooks/{pk}/deliveries").json()
    assert told["progress"] == "delivered" and told["status"] == 204 and told["id"] == test.json()["id"]
    assert client.post(f"/api/v1/webhooks/{pk}/secret").json()["secret"] != made["secret"]
    assert client.delete(f"/api/v1/webhooks/{pk}").status_code == 204
    assert not Webhook.objects.exists() and not Delivery.objects.exists()
    assert client.delete(f"/api/v1/webhooks/{pk}").status_code == 404


@pytest.mark.parametrize(("role", "scope", "status"), [
    ("admin", "write", 403), ("admin", "read", 403), ("editor", "admin", 403), ("stranger", "admin", 404),
])
def test_the_api_asks_for_the_role_and_the_scope(role: str, scope: str, status: int, people: People,
                                                 webhook: Webhook) -> None:
    client = client_for(people.by_role(role), scope)
    assert client.get(API).status_code == status
    assert client.post(API, {"url": "https://example.org/"}, content_type="application/json").status_code == status
    for path in ("secret", "test"):
        assert client.post(f"/api/v1/webhooks/{webhook.pk}/{path}").status_code == status
    assert client.get(f"/api/v1/webhooks/{webhook.pk}/deliveries").status_code == status
    assert client.delete(f"/api/v1/webhooks/{webhook.pk}").status_code == status
    assert Webhook.objects.count() == 1 and not Delivery.objects.exists()
