"""Django in front of Dash: login, CSRF, CSP and error pages are Django's; Dash answers through its WSGI app."""

from io import BytesIO

from assay.api.parser import StrictParser, Unreadable
from assay.experiments.submission import Invalid
from csp.decorators import csp_update
from dash.exceptions import DependencyException
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_http_methods, require_safe
from werkzeug.test import run_wsgi_app

from .access import ENVIRON_KEY
from .app import PREFIX, ShellDash, apps

YEAR = 365 * 86400
FILES = next(iter(apps.values()))  # every app serves the same scripts and styles


@require_safe
@login_required
@ensure_csrf_cookie
@csp_update({"script-src": FILES.csp_hashes()})  # of the only inline script: the one that starts Dash's renderer
@gzip_page
def page(request: HttpRequest, name: str) -> HttpResponse:
    """A dashboard's page."""
    return answer(apps[name], request, request.path)


@require_http_methods(["GET", "HEAD", "POST"])
@gzip_page
def data(request: HttpRequest, name: str, what: str) -> HttpResponse:
    """Layout, dependencies and callbacks: asked for by scripts, so 401 rather than a login page."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": {"code": "unauthorized", "message": "sign in", "fields": {}}}, status=401)
    if request.method == "POST":
        try:
            StrictParser().parse_body(request)
        except (Unreadable, Invalid, RawPostDataException) as error:  # the last: a form, which was read before us
            raise BadRequest(str(error)) from None
    response = answer(apps[name], request, PREFIX + what)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@gzip_page
def file(request: HttpRequest) -> HttpResponse:
    """Scripts and styles of Dash and of ours: public, and kept by the browser as their address names their version."""
    try:
        response = answer(FILES, request, request.path)
    except DependencyException as error:  # no library of this name, or no such file in it
        raise Http404(str(error)) from None
    if response["Content-Type"].startswith("text/html"):  # Flask's error page, or Dash's page for any other path
        raise Http404("no such file")
    versioned = "m" in request.GET or ".v" in request.path
    if response.status_code == 200 and versioned:
        response["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


def answer(app: ShellDash, request: HttpRequest, path: str) -> HttpResponse:
    """What a page's WSGI app answers to `request`, asked for under `path`."""
    told = path.encode().decode("latin-1")  # as WSGI wants its text
    environ = {**request.META, "PATH_INFO": told, ENVIRON_KEY: request, "wsgi.input": BytesIO(request.body)}
    body, status, headers = run_wsgi_app(app.server, environ, buffered=True)
    response = HttpResponse(b"".join(body), status=int(status.split(" ", 1)[0]))
    for name, value in headers:
        if name.lower() != "content-length":
            response[name] = value
    return response
