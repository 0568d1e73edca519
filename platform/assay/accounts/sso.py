"""Single sign-on by OpenID Connect: the code flow with PKCE, by django-allauth.

A person is known by issuer and subject alone, so nobody comes in as a local user whose e-mail or name they gave
themselves. A local user connects their account when signed in. Of allauth only what is here is used: its own pages
(sign-up, passwords, e-mails) are not routed.
"""

import hashlib
import logging
import secrets
from typing import Any

import jwt
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthError, AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from requests import RequestException

from . import audit
from .models import User

logger = logging.getLogger(__name__)
ALGORITHMS = [kind + size for kind in ("RS", "PS", "ES") for size in ("256", "384", "512")] + ["EdDSA"]
LEEWAY = 60  # seconds that the provider's clock may be off
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
CLAIMS = ("sub", "preferred_username", "name", "given_name", "family_name")  # what is kept of a person, with the e-mail
LONGEST_SUBJECT = 191  # characters, allauth's column


class Refused(Exception):
    """Why somebody was not let in, in words for them."""


def name() -> str:
    """What the login page calls the provider; empty when there is none."""
    return str(settings.OIDC_NAME) if settings.OIDC_ISSUER else ""


def identities(user: User) -> QuerySet[SocialAccount]:
    """The provider's accounts by which `user` comes in."""
    return SocialAccount.objects.filter(user=user, provider=settings.OIDC_ISSUER)


def begin(request: HttpRequest, next_url: str, *, connect: bool = False) -> str:
    """The address at the provider where the person goes now; `connect` adds the account to who is signed in.

    Raises `Refused` when the provider does not answer.
    """
    state = secrets.token_urlsafe(24)
    process = AuthProcess.CONNECT if connect else AuthProcess.LOGIN
    try:
        response = _provider(request).redirect(request, process, next_url or None, state_id=state,
                                               auth_params={"nonce": _nonce(state)})
    except (OAuth2Error, RequestException) as error:
        raise _failed(error) from error
    return str(response.url)


def finish(request: HttpRequest) -> HttpResponse:
    """What the provider sent the person back with: lets them in, or raises `Refused`."""
    try:
        response: HttpResponse = OAuth2CallbackView.adapter_view(Exchange(request, settings.OIDC_ISSUER))(request)
    except (OAuth2Error, RequestException) as error:
        raise _failed(error) from error
    return response


def _provider(request: HttpRequest) -> "Provider":
    """Its id is the issuer: subjects of another one are other people, also after the setting was changed."""
    return Provider(request, app=SocialApp(
        provider=Provider.id, provider_id=settings.OIDC_ISSUER, name=settings.OIDC_NAME,
        client_id=settings.OIDC_CLIENT_ID, secret=settings.OIDC_CLIENT_SECRET,
        settings={"server_url": settings.OIDC_ISSUER, "oauth_pkce_enabled": True}))


def _nonce(state: str) -> str:
    """An id token with it was made for the login that began with `state`, which this browser alone knows."""
    return hashlib.sha256(state.encode()).hexdigest()


def _failed(error: Exception) -> Refused:
    logger.warning("single sign-on: %s: %s", type(error).__name__, error)
    if isinstance(error, RequestException):
        return Refused(f"{name()} does not answer as it should. Try again in a minute, or ask your administrator.")
    return Refused(f"What {name()} sent cannot be trusted, so nobody was signed in. Begin again; if it stays so, "
                   "show your administrator this page's time: the server's log says more.")


class Exchange(OpenIDConnectOAuth2Adapter):
    """Trades the code for who it is. allauth takes an id token that came over TLS as it is; here signature, issuer,
    audience, time and nonce are checked as OpenID Connect Core 3.1.3.7 says, and that the answer of `userinfo` is about
    the same person (5.3.2)."""

    @property
    def openid_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().openid_config
        if str(config.get("issuer")).rstrip("/") != settings.OIDC_ISSUER.rstrip("/"):
            raise OAuth2Error(f"{settings.OIDC_ISSUER} says that it is {config.get('issuer')}")
        if missing := [name for name in ENDPOINTS if not config.get(name)]:
            raise OAuth2Error(f"{settings.OIDC_ISSUER} names no {missing[0]}")
        return config

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        return request.build_absolute_uri(reverse("sso-callback"))

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> SocialLogin:
        claims = self._verified(kwargs["response"].get("id_token"), _nonce(request.GET["state"]))
        if "userinfo_endpoint" in self.openid_config:
            info = self._fetch_user_info(token.token)
            if info.get("sub") != claims["sub"]:
                raise OAuth2Error("userinfo is about somebody else than the id token")
            claims |= info
        person = {key: claims[key] for key in CLAIMS if isinstance(claims.get(key), str)}
        if claims.get("email") and "email_verified" in claims:  # an address that nobody vouches for is not kept
            person |= {"email": claims["email"], "email_verified": str(claims["email_verified"]).lower() == "true"}
        login: SocialLogin = self.get_provider().sociallogin_from_response(request, {"userinfo": person})
        return login

    def _verified(self, text: str | None, nonce: str) -> dict[str, Any]:
        """The claims of the id token `text`. Raises `OAuth2Error`."""
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
        answer.raise_for_status()
        try:
            kid = jwt.get_unverified_header(text or "").get("kid")
            key = next(key for key in jwt.PyJWKSet.from_dict(answer.json()).keys if kid in (None, key.key_id))
            claims = jwt.decode(text or "", key, algorithms=ALGORITHMS, audience=settings.OIDC_CLIENT_ID, leeway=LEEWAY,
                                issuer=self.openid_config["issuer"],
                                options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]})
        except (jwt.PyJWTError, StopIteration, AttributeError, TypeError, ValueError) as error:
            raise OAuth2Error(f"id token: {error!r}") from error
        if claims["nonce"] != nonce or claims.get("azp", settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
            raise OAuth2Error("id token: made for another login")
        if not 0 < len(claims["sub"]) <= LONGEST_SUBJECT:
            raise OAuth2Error(f"id token: a subject of {len(claims['sub'])} characters")
        return dict(claims)


class Provider(OpenIDConnectProvider):
    oauth2_adapter_class = Exchange


class SocialAdapter(DefaultSocialAccountAdapter):
    """allauth's decisions about people who come from the provider."""

    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Provider:
        return _provider(request)

    def on_authentication_error(self, request: HttpRequest, provider: Provider, error: str | None = None,
                                exception: Exception | None = None, extra_context: dict[str, Any] | None = None
                                ) -> None:
        if exception is not None:
            raise _failed(exception)
        if error == AuthError.CANCELLED:
            raise Refused(f"You did not agree at {name()}, so nobody was signed in.")
        if "state" in (extra_context or {}):
            raise Refused(f"{name()} reports an error, so nobody was signed in. Begin again, or ask your "
                          "administrator.")
        raise Refused("This login was not begun in this browser, or too long ago. Begin again.")

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Raises `Refused`; an account that is to be connected is connected here, in one transaction with its entry in
        the audit log."""
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            _connect(request, sociallogin)
            raise ImmediateHttpResponse(redirect("settings"))
        if why := _why_not(sociallogin):
            audit.record(None, "login.refused", f"{name()}: {sociallogin.account.uid}", why=why)
            raise Refused(why)

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        audit.record(user, "user.create", user, by=name(), subject=sociallogin.account.uid)
        return user


def _why_not(login: SocialLogin) -> str:
    """Why a person whom the provider knows may not come in, or nothing."""
    if login.is_existing:
        active = isinstance(login.user, User) and login.user.is_active
        return "" if active else "Your user here was switched off. Ask your administrator."
    for address in login.email_addresses:
        if not address.verified:
            return (f"{name()} has not verified that {address.email} is your e-mail. Verify it there, then come back.")
        if User.objects.filter(email__iexact=address.email).exists():
            return (f"There is a user with the e-mail {address.email} here already. If it is you, log in with your "
                    f"password and connect {name()} under Settings.")
    return ""


@transaction.atomic
def _connect(request: HttpRequest, login: SocialLogin) -> None:
    user = request.user
    if not isinstance(user, User):
        raise Refused("Your session ended meanwhile. Log in with your password, then connect again under Settings.")
    if not login.is_existing:
        login.user = user
        login.save(request, connect=True)
        audit.record(user, "sso.connect", f"{name()}: {login.account.uid}")
    elif login.user != user:
        raise Refused(f"Another user here comes in with this account of {name()} already.")
    messages.success(request, f"You can log in with {name()} from now on.")


class AccountAdapter(DefaultAccountAdapter):
    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: who sees their home page knows that they are in."""
