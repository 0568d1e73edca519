"""Who may do what, as one table: every route, every operation of the API and every dashboard has its line here.

A line says what each asker gets, by one word: "yes" (a page, a file, or a redirect after a deed), "login" (the way to
the login page), or the status of a refusal. A new address without a line fails the test.
"""

from dataclasses import dataclass, field
from typing import Any

ASKERS = ("anonymous", "stranger", "viewer", "editor", "admin", "expired", "narrow")
Policy = dict[str, str]


def policy(words: str) -> Policy:
    return dict(zip(ASKERS, words.split(), strict=True))


# Pages know no tokens, so whoever comes with one alone is anonymous there: "expired" and "narrow" say the same.
#                 anonymous stranger viewer editor admin expired narrow
EVERYBODY = policy("yes      yes      yes    yes    yes   yes     yes")
SIGNED_IN = policy("login    yes      yes    yes    yes   login   login")
MEMBERS = policy("  login    404      yes    yes    yes   login   login")
EDITORS = policy("  login    404      403    yes    yes   login   login")
EDITORS_ANYWHERE = policy("login yes  403    yes    yes   login   login")  # the stranger is one elsewhere
FORMS = policy("    login    422      403    yes    yes   login   login")  # which show again what was typed
ADMINS = policy("   login    404      403    403    yes   login   login")
OWNER = policy("    login    404      404    404    yes   login   login")  # what the table's objects belong to: admin
SUPERUSERS = policy("login   403      403    403    403   login   login")
SUPERUSERS_INSIDE = policy("login 404 403   403    403   login   login")  # of what members know of
STAFF = policy("    login    login    login  login  login login   login")
NO_METHOD = policy("405      405      405    405    405   405     405")
NO_METHOD_INSIDE = policy("login 405  405    405    405   login   login")  # the login is asked for first
NOT_THERE = policy("404      404      404    404    404   404     404")
DATA = policy("     401      yes      yes    yes    yes   401     401")  # asked for by a dashboard's scripts
NO_POST = policy("  401      400      400    400    400   401     401")  # a form is no callback

# The API knows tokens and sessions; each role holds a token of scope admin, "narrow" the admin's of a lesser scope.
API_READ = policy("  401     yes      yes    yes    yes   401     yes")  # there is no lesser scope than read
API_MEMBERS = policy("401    404      yes    yes    yes   401     yes")
API_EDITORS = policy("401    404      403    yes    yes   401     403")
API_ADMINS = policy("401     404      403    403    yes   401     403")
API_SUPERUSERS = policy("401 404     403    403    403   401     403")
API_OWN = policy("   401     yes      yes    yes    yes   401     403")  # one's own affairs, which need scope admin
API_OWNER = policy(" 401     404      404    404    yes   401     403")


@dataclass(frozen=True)
class Line:
    """`body` is what is sent; `audits` the action that the log has afterwards, or `why_not` says why there is none."""

    policy: Policy
    body: dict[str, Any] = field(default_factory=dict)
    audits: str = ""
    why_not: str = ""

    @property
    def scope(self) -> str:
        """That a token needs for it."""
        if self.policy in (API_READ, API_MEMBERS):
            return "read"
        return "write" if self.policy == API_EDITORS else "admin"


@dataclass(frozen=True)
class Page:
    """A route of the URLconf: its address, and its line for GET and POST. `queries` are asked for too."""

    get: Line
    post: Line
    address: str
    queries: dict[str, Policy] = field(default_factory=dict)


def page(who: Policy, address: str, *queries: str) -> Page:
    """Looked at; a form that is sent there is not read."""
    return Page(Line(who), Line(who, why_not="it is only shown"), address, dict.fromkeys(queries, who))


def deed(who: Policy, address: str, audits: str, **body: Any) -> Page:
    return Page(Line(NO_METHOD_INSIDE), Line(who, body, audits), address)


FORM = {"engine": "toy", "engine_shown": "toy", "problem": "bowl", "problem_shown": "bowl", "project": "lab",
        "name": "typed", "problem.size": "quick", "problem.dimensions": "3", "seeds": "0", "budget.steps": "10",
        "resources.queue": "cpu", "resources.cores": "1", "resources.gpus": "0", "priority": "0", "tags": "",
        "notes": "", "do": "start"}
DICE = FORM | {"m0.id": "dice"}
SWEEP = FORM | {
    "m0.id": "descent", "m0.lr": "0.2", "m0.momentum": "", "m0.betas": "0.8, 0.99", "m0.layers": "4",
    "m0.rule": "plain", "m0.lr:vary": "on", "m0.lr:low": "0.01", "m0.lr:high": "1", "m0.lr:scale": "log",
    "o0.name": "accuracy", "o0.direction": "", "sampler": "random-search", "sampler_shown": "random-search",
    "pruner": "", "pruner_shown": "", "limits.trials": "4", "limits.parallel": "1", "limits.seconds": ""}
EXPERIMENT = {"project": "lab", "name": "new", "engine": "toy", "problem": {"id": "bowl"}, "methods": [{"id": "dice"}],
              "seeds": [0], "budget": {"steps": 10}}
SWEEPING = {"project": "lab", "name": "swept", "engine": "toy", "problem": {"id": "bowl"},
            "methods": [{"id": "descent"}], "budget": {"steps": 10}, "space": [{"name": "lr"}],
            "sampler": {"id": "random-search"}, "trials": 4, "parallel": 1}
PASSWORD = {"username": "viewer", "password": "wrong"}

PAGES: dict[str, Page] = {
    "favicon.ico": page(EVERYBODY, "/favicon.ico"),
    "healthz": page(EVERYBODY, "/healthz"),
    "readyz": page(EVERYBODY, "/readyz"),
    "metrics": Page(Line(EVERYBODY), Line(NO_METHOD), "/metrics"),  # on this machine; see tests/monitoring
    "": page(SIGNED_IN, "/"),
    "login": Page(Line(EVERYBODY), Line(EVERYBODY, PASSWORD, why_not="a wrong password; see tests/accounts"), "/login"),
    "login/sso": Page(Line(NO_METHOD), Line(NOT_THERE), "/login/sso"),  # none is configured here; see test_sso.py
    "login/sso/callback": Page(Line(NOT_THERE), Line(NO_METHOD), "/login/sso/callback"),
    "logout": Page(Line(NO_METHOD), Line(EVERYBODY, audits="logout"), "/logout"),
    "search": page(SIGNED_IN, "/search", "?q=first", "?q={run}"),
    "project": Page(Line(NO_METHOD_INSIDE), Line(MEMBERS, {"project": "{project}"}, why_not="it is the session's"),
                    "/project"),
    "experiments": page(SIGNED_IN, "/experiments", "?q=first&state=succeeded&sort=name"),
    "experiments/new": Page(Line(EDITORS_ANYWHERE), Line(FORMS, DICE, "experiment.submit"), "/experiments/new",
                            {"?clone={experiment}": EDITORS, "?clone_run={run}": EDITORS}),
    "experiments/<int:pk>": page(MEMBERS, "/experiments/{experiment}", "?part=1&runs=9"),
    "experiments/<int:pk>/curves": page(MEMBERS, "/experiments/{experiment}/curves", "?x=seconds"),
    "experiments/<int:pk>/cancel": deed(EDITORS, "/experiments/{experiment}/cancel", "experiment.cancel"),
    "experiments/<int:pk>/rerun": deed(EDITORS, "/experiments/{experiment}/rerun", "experiment.submit"),
    "experiments/<int:pk>/delete": deed(EDITORS, "/experiments/{claimed}/delete", "experiment.delete",
                                        confirm="Claim of dice"),
    "sweeps": page(SIGNED_IN, "/sweeps"),
    "sweeps/new": Page(Line(EDITORS_ANYWHERE), Line(FORMS, SWEEP, "sweep.start"), "/sweeps/new",
                       {"?clone={sweep}": EDITORS}),
    "sweeps/<int:pk>/figures": page(MEMBERS, "/sweeps/{sweep}/figures"),
    "sweeps/<int:pk>/stop": deed(EDITORS, "/sweeps/{sweep}/stop", "experiment.cancel"),
    "sweeps/<int:pk>/extend": deed(EDITORS, "/sweeps/{sweep}/extend", "sweep.extend", trials="3"),
    "sweeps/<int:pk>/run-best": deed(EDITORS, "/sweeps/{sweep}/run-best", "experiment.submit", seeds="2"),
    "runs/<int:pk>": page(MEMBERS, "/runs/{run}"),
    "runs/<int:pk>/curves": page(MEMBERS, "/runs/{run}/curves", "?x=seconds"),
    "runs/<int:pk>/log": page(MEMBERS, "/runs/{run}/log", "?attempt=1&after=2"),
    "runs/<int:pk>/cancel": deed(EDITORS, "/runs/{waiting}/cancel", "run.cancel"),
    "runs/<int:pk>/rerun": deed(EDITORS, "/runs/{run}/rerun", "experiment.submit"),
    "runs/<int:pk>/reproduce": Page(Line(MEMBERS), Line(EDITORS, audits="run.reproduce"), "/runs/{run}/reproduce"),
    "runs/<int:pk>/reproduce/curves": page(MEMBERS, "/runs/{run}/reproduce/curves"),
    "catalogue": page(SIGNED_IN, "/catalogue"),
    "catalogue/<slug:engine>": page(SIGNED_IN, "/catalogue/{engine}"),
    "catalogue/<slug:engine>/problems/<slug:name>": page(SIGNED_IN, "/catalogue/{engine}/problems/{problem}"),
    "catalogue/<slug:engine>/methods/<slug:name>": page(SIGNED_IN, "/catalogue/{engine}/methods/{method}"),
    "scoreboard": page(SIGNED_IN, "/scoreboard"),
    "scoreboard/<slug:system>": page(SIGNED_IN, "/scoreboard/{system}"),
    "scoreboard/<slug:system>/run": deed(EDITORS, "/scoreboard/{system}/run", "claim.run", project="{project}"),
    "fleet": page(SIGNED_IN, "/fleet"),
    "views/save": deed(EDITORS, "/views/save", "view.save", project="{project}", board="compare", name="n", query=""),
    "views/<int:pk>/delete": deed(EDITORS, "/views/{view}/delete", "view.delete"),
    "settings": Page(Line(SIGNED_IN), Line(SIGNED_IN, {"form": "token", "name": "n", "scope": "read", "days": "3"},
                                           "token.create"), "/settings"),
    "settings/tokens/<int:pk>/revoke": deed(OWNER, "/settings/tokens/{token}/revoke", "token.revoke"),
    "audit": Page(Line(SUPERUSERS), Line(NO_METHOD), "/audit", {"?format=csv": SUPERUSERS}),
    "projects/new": Page(Line(SIGNED_IN), Line(SIGNED_IN, {"name": "Mine", "slug": "mine"}, "project.create"),
                         "/projects/new"),
    "settings/mail": deed(SIGNED_IN, "/settings/mail", "mail.choose", when="failed"),
    "projects/<slug:slug>/notifications": Page(
        Line(ADMINS), Line(ADMINS, {"url": "https://example.org/", "when": "ended"}, "webhook.create"),
        "/projects/{project}/notifications"),
    "webhooks/<int:pk>/secret": deed(ADMINS, "/webhooks/{webhook}/secret", "webhook.rotate"),
    "webhooks/<int:pk>/test": deed(ADMINS, "/webhooks/{webhook}/test", "webhook.test"),
    "webhooks/<int:pk>/delete": deed(ADMINS, "/webhooks/{webhook}/delete", "webhook.delete"),
    "deliveries/<uuid:pk>/retry": deed(ADMINS, "/deliveries/{delivery}/retry", "webhook.retry"),
    "projects/<slug:slug>/data": Page(
        Line(MEMBERS), Line(ADMINS, {"deed": "save", "newest": "3", "log_days": "30"}, "retention.set"),
        "/projects/{project}/data"),
    "projects/<slug:slug>/quota": deed(SUPERUSERS_INSIDE, "/projects/{project}/quota", "", gigabytes="1"),
    "projects/<slug:slug>/export": deed(ADMINS, "/projects/{project}/export", "project.export"),
    "experiments/<int:pk>/keep": deed(EDITORS, "/experiments/{experiment}/keep", "experiment.keep", kept="1"),
    "projects/<slug:slug>/rename": deed(ADMINS, "/projects/{project}/rename", "project.rename", name="Other"),
    "projects/<slug:slug>/members": Page(Line(MEMBERS), Line(ADMINS, {"username": "nora", "role": "editor"},
                                                             "member.set"), "/projects/{project}/members"),
    "projects/<slug:slug>/members/remove": deed(ADMINS, "/projects/{project}/members/remove", "member.remove",
                                                username="nora"),
    "projects/<slug:slug>/audit": Page(Line(ADMINS), Line(NO_METHOD), "/projects/{project}/audit",
                                          {"?format=csv": ADMINS}),
    "dashboards/": page(EVERYBODY, "/dashboards/"),  # leads to the first dashboard, which asks for the login
    "dashboards/^(?:_dash-component-suites|assets)/": Page(
        Line(EVERYBODY), Line(NO_METHOD), "/dashboards/assets/grid.js"),
}

BOARDS = ("compare", "hardware", "leaderboard", "metrics", "pareto", "sweep")
for board in BOARDS:
    PAGES[f"dashboards/{board}"] = Page(Line(SIGNED_IN), Line(NO_METHOD), f"/dashboards/{board}")
    PAGES[f"dashboards/^(?P<name>{board})/(?P<what>_dash-(?:layout|dependencies|update-component))$"] = Page(
        Line(DATA), Line(NO_POST), f"/dashboards/{board}/_dash-layout")  # for callbacks see test_callbacks

OPERATIONS: dict[str, Line] = {
    "GET /me": Line(API_READ),
    "GET /tokens": Line(API_READ),
    "POST /tokens": Line(API_OWN, {"name": "n", "scope": "read"}, "token.create"),
    "DELETE /tokens/{token}": Line(API_OWNER, audits="token.revoke"),
    "GET /projects": Line(API_READ),
    "POST /projects": Line(API_OWN, {"slug": "mine", "name": "Mine"}, "project.create"),
    "PATCH /projects/{project}": Line(API_ADMINS, {"name": "Other"}, "project.rename"),
    "GET /projects/{project}/members": Line(API_MEMBERS),
    "PUT /projects/{project}/members/{member}": Line(API_ADMINS, {"role": "editor"}, "member.set"),
    "DELETE /projects/{project}/members/{member}": Line(API_ADMINS, audits="member.remove"),
    "GET /catalogue": Line(API_READ),
    "GET /catalogue/{engine}": Line(API_READ),
    "GET /catalogue/{engine}/problems/{problem}": Line(API_READ),
    "GET /catalogue/{engine}/methods/{method}": Line(API_READ),
    "GET /claims": Line(API_READ),
    "GET /claims/{system}": Line(API_READ),
    "POST /claims/{system}/run": Line(API_EDITORS, {"project": "{project}"}, "claim.run"),
    "GET /experiments": Line(API_READ),
    "POST /experiments": Line(API_EDITORS, EXPERIMENT, "experiment.submit"),
    "GET /experiments/{experiment}": Line(API_MEMBERS),
    "DELETE /experiments/{claimed}": Line(API_EDITORS, audits="experiment.delete"),
    "POST /experiments/{experiment}/cancel": Line(API_EDITORS, audits="experiment.cancel"),
    "POST /experiments/{experiment}/rerun": Line(API_EDITORS, audits="experiment.submit"),
    "GET /runs": Line(API_READ),
    "GET /runs/{run}": Line(API_MEMBERS),
    "POST /runs/{waiting}/cancel": Line(API_EDITORS, audits="run.cancel"),
    "POST /runs/{run}/rerun": Line(API_EDITORS, audits="experiment.submit"),
    "POST /runs/{run}/reproduce": Line(API_EDITORS, audits="run.reproduce"),
    "GET /runs/{run}/reproductions": Line(API_MEMBERS),
    "GET /runs/{run}/logs": Line(API_MEMBERS),
    "GET /runs/{run}/artifacts": Line(API_MEMBERS),
    "GET /sweeps": Line(API_READ),
    "POST /sweeps": Line(API_EDITORS, SWEEPING, "sweep.start"),
    "GET /sweeps/{sweep}": Line(API_MEMBERS),
    "GET /sweeps/{sweep}/trials": Line(API_MEMBERS),
    "POST /sweeps/{sweep}/stop": Line(API_EDITORS, audits="experiment.cancel"),
    "POST /sweeps/{sweep}/extend": Line(API_EDITORS, {"trials": 3}, "sweep.extend"),
    "POST /sweeps/{sweep}/run-best": Line(API_EDITORS, {"seeds": 2}, "experiment.submit"),
    "GET /artifacts/{artifact}/content": Line(API_MEMBERS),
    "GET /metrics?run={run}": Line(API_MEMBERS),
    "GET /nodes": Line(API_READ),
    "GET /projects/{project}/webhooks": Line(API_ADMINS),
    "POST /projects/{project}/webhooks": Line(API_ADMINS, {"url": "https://example.org/"}, "webhook.create"),
    "DELETE /webhooks/{webhook}": Line(API_ADMINS, audits="webhook.delete"),
    "POST /webhooks/{webhook}/secret": Line(API_ADMINS, audits="webhook.rotate"),
    "POST /webhooks/{webhook}/test": Line(API_ADMINS, audits="webhook.test"),
    "GET /webhooks/{webhook}/deliveries": Line(API_ADMINS),
    "GET /projects/{project}/data": Line(API_MEMBERS),
    "GET /projects/{project}/export": Line(API_ADMINS, audits="project.export"),
    "PUT /projects/{project}/retention": Line(API_ADMINS, {"log_days": 30}, "retention.set"),
    "GET /projects/{project}/retention/due": Line(API_ADMINS),
    "PUT /projects/{project}/quota": Line(API_SUPERUSERS, {"queued_runs": 9}, why_not="see tests/retention"),
    "PUT /experiments/{experiment}/kept": Line(API_EDITORS, {"kept": True}, "experiment.keep"),
}
ADMIN_PAGES: dict[str, Policy] = {  # by address; "*" are all others
    "*": STAFF,
    "/admin/login/": EVERYBODY,
    "/admin/logout/": EVERYBODY,  # leads back to the login
}
API_DOCUMENTATION = {"api/v1/", "api/v1/openapi.json", "api/v1/docs"}  # the same for everybody, and open
