"""The pages' addresses."""

from django.urls import path

from .pages import catalogue, experiment, experiment_new, experiments, fleet, home, login, run, search, settings, switch

urlpatterns = [
    path("", home.home, name="home"),
    path("login", login.Login.as_view(), name="login"),
    path("logout", login.Logout.as_view(), name="logout"),
    path("search", search.search, name="search"),
    path("project", switch.switch_project, name="project-switch"),
    path("experiments", experiments.experiments, name="experiments"),
    path("experiments/new", experiment_new.new_experiment, name="experiment-new"),
    path("experiments/<int:pk>", experiment.experiment, name="experiment"),
    path("experiments/<int:pk>/curves", experiment.curves, name="experiment-curves"),
    path("experiments/<int:pk>/cancel", experiment.cancel, name="experiment-cancel"),
    path("experiments/<int:pk>/rerun", experiment.rerun, name="experiment-rerun"),
    path("experiments/<int:pk>/delete", experiment.delete, name="experiment-delete"),
    path("runs/<int:pk>", run.run, name="run"),
    path("runs/<int:pk>/curves", run.curves, name="run-curves"),
    path("runs/<int:pk>/log", run.log, name="run-log"),
    path("runs/<int:pk>/cancel", run.cancel, name="run-cancel"),
    path("runs/<int:pk>/rerun", run.rerun, name="run-rerun"),
    path("catalogue", catalogue.catalogue, name="catalogue"),
    path("catalogue/<slug:engine>", catalogue.engine, name="catalogue-engine"),
    path("catalogue/<slug:engine>/problems/<slug:name>", catalogue.problem, name="catalogue-problem"),
    path("catalogue/<slug:engine>/methods/<slug:name>", catalogue.method, name="catalogue-method"),
    path("fleet", fleet.fleet, name="fleet"),
    path("settings", settings.settings, name="settings"),
    path("settings/tokens/<int:pk>/revoke", settings.revoke_token, name="token-revoke"),
    path("projects/<slug:slug>/members", settings.members, name="project-members"),
    path("projects/<slug:slug>/members/remove", settings.remove_member, name="project-member-remove"),
]
