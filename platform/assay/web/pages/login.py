"""Coming in and going out."""

from django.contrib.auth.views import LoginView, LogoutView


class Login(LoginView):
    template_name = "web/login.html"
    redirect_authenticated_user = True


class Logout(LogoutView):
    """POST only; back to the login page."""
