"""The pages' addresses."""

from django.urls import path

from .pages import home, login, search, switch

urlpatterns = [
    path("", home.home, name="home"),
    path("login", login.Login.as_view(), name="login"),
    path("logout", login.Logout.as_view(), name="logout"),
    path("search", search.search, name="search"),
    path("project", switch.switch_project, name="project-switch"),
]
