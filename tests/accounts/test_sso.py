"""Single sign-on against a real OpenID provider on 127.0.0.1: the whole way, and every lie that one may tell."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount
from assay.accounts.models import AuditEntry, Membership, User
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client
from django.urls import NoReverseMatch, reverse

from tests.accounts.provider import Provider, rsa_key, serving
from tests.announced import People
from tests.web.signed_in import browser

pytestmark = pytest.mark.django_db
MIA = {"sub": "7", "preferred_username": "mia", "name": "Mia Moe", "email": "mia@example.org", "email_verified": True}
KEY = rsa_key()


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    with serving(Provider(person=dict(MIA), key=KEY)) as running:
        settings.OIDC_ISSUER, settings.OIDC_NAME = running.url, "Example ID"
        settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = running.client_id, running.client_secret
        yield running


def leave(client: Client, **form: str) -> str:
    """Press the button; the address at the provider that the page leads to."""
    page = client.post("/login/sso", form)
    assert page.status_code == 200, page.content
    text = page.content.decode()
    address = text.split('content="0;url=')[1].split('"')[0].replace("&amp;", "&")
    assert f'href="{address}"'.replace("&", "&amp;") in text  # for those whose browser does not go on by itself
    return address


def come_back(address: str) -> str:
    """What a browser is told at the provider: the way back here, with code and state."""
    answer = httpx.get(address, trust_env=False)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith("http://testserver/login/sso/callback?")
    return answer.headers["Location"].removeprefix("http://testserver")


def log_in(client: Client, **form: str) -> Any:
    return client.get(come_back(leave(client, **form)))


def refused(answer: Any, words: str) -> bool:
    """A page that says why, and nobody is signed in."""
    text = answer.content.decode()
    assert answer.status_code == 403 and "Not signed in" in text and "Back to the login" in text, text
    return words in text and "_auth_user_id" not in answer.wsgi_request.session


# -- the way in -----------------------------------------------------------------------------------------------


def test_the_button_is_there_when_there_is_a_provider(provider: Provider, settings: Any) -> None:
    assert b"Log in with Example ID" in Client().get("/login").content
    settings.OIDC_ISSUER = ""
    client = Client()
    assert b"sso" not in client.get("/login").content
    assert client.post("/login/sso").status_code == client.get("/login/sso/callback").status_code == 404
    assert "login/sso" not in browser(User.objects.create_user("x")).get("/settings").content.decode()


def test_somebody_new_comes_in(provider: Provider) -> None:
    client = Client()
    answer = log_in(client, next="/fleet")
    assert answer["Location"] == "/fleet"
    user = User.objects.get()
    assert (user.username, user.email, user.first_name, user.last_name) == ("mia", "mia@example.org", "Mia", "Moe")
    assert not user.has_usable_password() and not user.is_staff and not Membership.objects.exists()
    home = client.get("/").content.decode()
    assert "You are in no project yet" in home and "<b>mia</b>" in home
    assert 'id="password"' not in client.get("/settings").content.decode()  # there is none to change
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["user.create", "login"]
    assert SocialAccount.objects.get().extra_data == {"userinfo": MIA}  # and no tokens of the provider are kept


def test_who_was_here_before_is_the_same_user(provider: Provider) -> None:
    log_in(Client())
    provider.person |= {"preferred_username": "other", "email": "new@example.org", "email_verified": False}
    client = Client()
    assert log_in(client)["Location"] == "/"
    assert User.objects.get().username == "mia"
    assert client.post("/logout")["Location"] == "/login"
    assert client.get("/")["Location"].startswith("/login")


def test_what_is_sent_to_the_provider(provider: Provider) -> None:
    query = {name: values[0] for name, values in parse_qs(urlsplit(leave(Client())).query).items()}
    assert query["redirect_uri"] == "http://testserver/login/sso/callback"
    assert set(query["scope"].split()) == {"openid", "profile", "email"} and query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256" and len(query["state"]) >= 32 and len(query["nonce"]) == 64


def test_the_page_there_and_back_keeps_the_policy(provider: Provider) -> None:
    page = Client().post("/login/sso")
    assert "form-action 'self'" in page["Content-Security-Policy"] and "no-store" in page["Cache-Control"]


@pytest.mark.parametrize("after", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_it_leads_nowhere_else(after: str, provider: Provider) -> None:
    assert log_in(Client(), next=after)["Location"] == "/"


def test_a_name_that_is_taken_gives_another_user(provider: Provider, people: People) -> None:
    provider.person |= {"preferred_username": "ADMIN"}
    log_in(Client())
    made = SocialAccount.objects.get().user
    assert made != people.admin and made.username.lower() != "admin" and not made.projects.exists()


@pytest.mark.parametrize("name", ["a b/c", "x" * 500, "", "<script>"])
def test_names_that_are_no_user_names(name: str, provider: Provider) -> None:
    provider.person |= {"preferred_username": name}
    assert log_in(Client())["Location"] == "/"
    assert 0 < len(User.objects.get().username) <= 150 and User.objects.get().username != name


# -- whom it does not let in ----------------------------------------------------------------------------------


def test_an_email_opens_no_local_user(provider: Provider, people: People) -> None:
    """Verified or not, and in whatever case it is written."""
    User.objects.filter(pk=people.admin.pk).update(email="Mia@Example.org")
    before = User.objects.count()
    assert refused(log_in(Client()), "There is a user with the e-mail mia@example.org here already")
    provider.person["email_verified"] = False
    assert refused(log_in(Client()), "has not verified")
    assert User.objects.count() == before and not SocialAccount.objects.exists()
    entry = AuditEntry.objects.filter(action="login.refused").latest("pk")
    assert entry.target == "Example ID: 7" and entry.user is None


@pytest.mark.parametrize("said", [False, "false", "no", None, 0])
def test_an_email_that_is_not_verified(said: Any, provider: Provider) -> None:
    provider.person["email_verified"] = said
    assert refused(log_in(Client()), "Example ID has not verified that mia@example.org is your e-mail")
    assert not User.objects.exists()


def test_an_email_of_which_nothing_is_said_is_not_kept(provider: Provider) -> None:
    del provider.person["email_verified"]
    log_in(Client())
    assert User.objects.get().email == ""


def test_a_user_who_was_switched_off(provider: Provider) -> None:
    log_in(Client())
    User.objects.update(is_active=False)
    assert refused(log_in(Client()), "was switched off")


def test_another_issuer_is_another_person(provider: Provider, settings: Any) -> None:
    """Subject 7 of a provider that took the place of the first is not the user who subject 7 was."""
    log_in(Client())
    with serving(Provider(person=MIA | {"email": "else@example.org"}, key=KEY)) as other:
        settings.OIDC_ISSUER = other.url
        log_in(Client())
    assert User.objects.count() == 2


# -- state, nonce, tokens -------------------------------------------------------------------------------------


def test_an_answer_without_a_question(provider: Provider) -> None:
    """A wrong state, another browser's, one used twice: all three would let somebody in as somebody else."""
    asker, other = Client(), Client()
    back = come_back(leave(asker))
    assert refused(other.get(back), "was not begun in this browser")
    assert refused(asker.get(back.replace("state=", "state=x")), "was not begun in this browser")
    assert refused(asker.get(back.split("state=")[0]), "was not begun in this browser")
    assert asker.get(back)["Location"] == "/"
    assert refused(Client().get(back), "was not begun in this browser")
    again = asker.get(back)
    assert again.status_code == 403


def test_somebody_elses_code(provider: Provider) -> None:
    """A code from another login in this browser's own answer: PKCE and nonce belong to the first one."""
    mine, theirs = Client(), Client()
    code = parse_qs(urlsplit(come_back(leave(theirs))).query)["code"][0]
    state = parse_qs(urlsplit(come_back(leave(mine))).query)["state"][0]
    assert refused(mine.get("/login/sso/callback", {"code": code, "state": state}), "cannot be trusted")


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def unsigned(provider: Provider, claims: dict[str, Any]) -> str:
    return ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "none", "kid": "k1"}, claims)) + "."


def with_public_key(provider: Provider, claims: dict[str, Any]) -> str:
    """HMAC with what everybody knows: the classic confusion of algorithms."""
    head = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "k1"}, claims))
    public = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{head}.{encoded(hmac.digest(public, head.encode(), 'sha256'))}"


LIES: dict[str, Callable[[Provider], Provider]] = {
    "another nonce": lambda one: replace(one, forge=lambda claims: claims | {"nonce": "0" * 64}),
    "no nonce": lambda one: replace(one, forge=lambda claims: {k: v for k, v in claims.items() if k != "nonce"}),
    "expired": lambda one: replace(one, forge=lambda claims: claims | {"exp": int(time.time()) - 300}),
    "no end": lambda one: replace(one, forge=lambda claims: {k: v for k, v in claims.items() if k != "exp"}),
    "from the future": lambda one: replace(one, forge=lambda claims: claims | {"iat": int(time.time()) + 3600}),
    "for another client": lambda one: replace(one, forge=lambda claims: claims | {"aud": "other"}),
    "for another party": lambda one: replace(one, forge=lambda claims: claims | {"azp": "other"}),
    "of another issuer": lambda one: replace(one, forge=lambda claims: claims | {"iss": "http://127.0.0.1:1"}),
    "no subject": lambda one: replace(one, forge=lambda claims: {k: v for k, v in claims.items() if k != "sub"}),
    "an endless subject": lambda one: replace(one, person=MIA | {"sub": "x" * 256}),
    "signed by a stranger": lambda one: replace(one, sign=lambda _, claims: one.signed(claims, key=rsa_key())),
    "an unknown key": lambda one: replace(one, sign=lambda _, claims: one.signed(claims, headers={"kid": "k2"})),
    "not signed": lambda one: replace(one, sign=unsigned),
    "signed with the public key": lambda one: replace(one, sign=with_public_key),
    "no token": lambda one: replace(one, sign=lambda _, claims: ""),
    "nonsense": lambda one: replace(one, sign=lambda _, claims: "a.b.c"),
    "userinfo of somebody else": lambda one: replace(one, userinfo=lambda person: person | {"sub": "8"}),
    "userinfo of nobody": lambda one: replace(one, userinfo=lambda person: {}),
    "another issuer in its configuration": lambda one: replace(one, config={"issuer": "https://evil.example"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(lie: str, provider: Provider) -> None:
    """Whatever the provider (or who speaks in its place) says wrongly: a page, nobody new, nobody signed in."""
    client = Client(raise_request_exception=False)
    back = come_back(leave(client))
    lying = LIES[lie](provider)
    for name in ("forge", "sign", "userinfo", "config", "person"):
        setattr(provider, name, getattr(lying, name))
    assert refused(client.get(back), "cannot be trusted")
    assert not User.objects.exists()


def test_the_provider_says_no(provider: Provider) -> None:
    provider.deny = "access_denied"
    assert refused(log_in(Client()), "You did not agree at Example ID")
    provider.deny = "server_error"
    assert refused(log_in(Client()), "Example ID reports an error")


def test_the_provider_is_away(provider: Provider, settings: Any) -> None:
    client = Client()
    back = come_back(leave(client))
    provider.config = {"token_endpoint": "http://127.0.0.1:9/token"}
    assert refused(client.get(back), "does not answer")
    back = come_back(leave(client))
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert refused(client.post("/login/sso"), "does not answer")
    assert refused(client.get(back), "was not begun in this browser")  # the question went to another provider


def test_it_is_begun_by_our_own_form_alone(provider: Provider) -> None:
    assert Client().get("/login/sso").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/login/sso").status_code == 403


def test_allauths_own_pages_are_not_there(provider: Provider) -> None:
    for name in ("account_signup", "account_login", "account_email", "socialaccount_signup",
                 "socialaccount_connections", "account_reset_password"):
        with pytest.raises(NoReverseMatch):
            reverse(name)


# -- connecting -----------------------------------------------------------------------------------------------


def test_a_local_user_connects_an_account(provider: Provider, people: People) -> None:
    client = browser(people.editor)
    assert b"Connect Example ID" in client.get("/settings").content
    assert log_in(client, connect="1")["Location"] == "/settings"
    page = client.get("/settings").content.decode()
    assert "You can log in with Example ID from now on." in page and "<code>7</code>" in page
    assert AuditEntry.objects.get(action="sso.connect").user == people.editor
    client = Client()
    log_in(client)
    assert client.get("/api/v1/me").json()["username"] == "editor"


def test_an_account_belongs_to_one_user(provider: Provider, people: People) -> None:
    log_in(browser(people.editor), connect="1")
    client = browser(people.viewer)
    answer = log_in(client, connect="1")
    assert answer.status_code == 403 and b"Another user here comes in" in answer.content
    assert SocialAccount.objects.get().user == people.editor
    assert client.get("/api/v1/me").json()["username"] == "viewer"


def test_who_is_not_signed_in_connects_nothing(provider: Provider, people: People) -> None:
    assert Client().post("/login/sso", {"connect": "1"})["Location"] == "/login"
    client = browser(people.editor)
    back = come_back(leave(client, connect="1"))
    session = client.session
    for name in ("_auth_user_id", "_auth_user_backend", "_auth_user_hash"):
        session.pop(name)
    session.save()
    assert refused(client.get(back), "Your session ended meanwhile")
    assert not SocialAccount.objects.exists()
