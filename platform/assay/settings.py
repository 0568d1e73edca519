"""Settings. Every variable is documented in docs/configuration.md."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from . import environment as env
from .monitoring import logs
from .postgres import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
ASSAY_HOME = Path(env.text("ASSAY_HOME", str(ROOT / "var"))).resolve()

DEBUG = env.flag("DEBUG")
SECRET_KEY = env.secret("SECRET_KEY", ASSAY_HOME / "secret_key")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_FAILURE_VIEW = "assay.web.errors.csrf_failed"
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
PRODUCTION_HTTPS = env.flag("HTTPS")

# -- what it is made of --------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "axes",
    "csp",
    "ninja",  # its Swagger files: the API's documentation works without internet
    "assay.accounts",
    "assay.catalogue",
    "assay.fleet",
    "assay.experiments",
    "assay.claims",
    "assay.bookmarks",
    "assay.care",
    "assay.archive",
    "assay.metrics",
    "assay.monitoring",
    "assay.notifications",
    "assay.sweeps",
    "assay.web",
    "tasks",
]
MIDDLEWARE = [
    "assay.monitoring.middleware.Requests",
    "assay.api.middleware.OneErrorShape",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "assay.gate.Gate",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "assay.urls"
WSGI_APPLICATION = "assay.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "assay.web.context.shell",
            ],
        },
    }
]

# -- where things are kept -----------------------------------------------------------------------------

DATABASE_URL = env.database("DATABASE_URL", f"sqlite:///{ASSAY_HOME / 'assay.sqlite3'}")
METRICS_URL = env.database("METRICS_URL")
if not METRICS_URL:  # beside SQLite a sibling file (two writers at once), within PostgreSQL the same database
    sqlite = DATABASE_URL.startswith("sqlite:")
    METRICS_URL = DATABASE_URL.rpartition("/")[0] + "/metrics.sqlite3" if sqlite else DATABASE_URL
try:
    DATABASES: dict[str, dict[str, Any]] = {
        "default": dict(dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True))}
except (ValueError, dj_database_url.ParseError) as error:
    raise ImproperlyConfigured(f"DATABASE_URL: {error}") from None
BACKEND = str(DATABASES["default"]["ENGINE"])
if BACKEND.endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif BACKEND.endswith("postgresql"):
    DATABASES["default"]["OPTIONS"] = PATIENCE | DATABASES["default"].get("OPTIONS", {})
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True  # a pooler would lose them
else:
    raise ImproperlyConfigured("DATABASE_URL: use sqlite:/// or postgresql://")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL", f"redis+socket://{env.broker_socket(ASSAY_HOME)}")
DATA_ROOT = Path(env.text("DATA_ROOT", str(ASSAY_HOME / "data"))).resolve()
MEDIA_ROOT = Path(env.text("MEDIA_ROOT", str(ASSAY_HOME / "media"))).resolve()
ARTIFACTS_S3_BUCKET = env.text("ARTIFACTS_S3_BUCKET")
STORAGES = {
    "default": env.storage(
        ARTIFACTS_S3_BUCKET, endpoint=env.text("ARTIFACTS_S3_ENDPOINT"), region=env.text("ARTIFACTS_S3_REGION"),
        prefix=env.text("ARTIFACTS_S3_PREFIX"),
    ),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # no collectstatic step between a clone and its first page

# -- how runs are executed -----------------------------------------------------------------------------

PORT = env.number("PORT", 8000, least=1)
LEASE = timedelta(seconds=env.number("LEASE_SECONDS", 30, least=3))
MAX_RUNS_PER_EXPERIMENT = env.number("MAX_RUNS_PER_EXPERIMENT", 2000, least=1)
MAX_QUEUED_RUNS_PER_USER = env.number("MAX_QUEUED_RUNS_PER_USER", 20000, least=1)
RUN_MEMORY_MB = env.number("RUN_MEMORY_MB", 0)  # 0: the node's memory divided by its slots
RUN_WALL_SECONDS = env.number("RUN_WALL_SECONDS", 24 * 3600, least=1)
RUN_LOG_BYTES = env.number("RUN_LOG_BYTES", 10 * 2**20, least=1024)
RUN_ARTIFACT_BYTES = env.number("RUN_ARTIFACT_BYTES", 2**30)
HEARTBEAT_FILE = env.text("HEARTBEAT_FILE")

# -- who may come in -----------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_USERNAME_CALLABLE = "assay.accounts.receivers.attempted"
AXES_LOCKOUT_TEMPLATE = "web/locked.html"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
OIDC_ISSUER = env.issuer("OIDC_ISSUER")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET") or env.from_file("OIDC_CLIENT_SECRET_FILE")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
if len({bool(OIDC_ISSUER), bool(OIDC_CLIENT_ID), bool(OIDC_CLIENT_SECRET)}) > 1:
    raise ImproperlyConfigured("OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET: set all three, or none")
SOCIALACCOUNT_ADAPTER = "assay.accounts.sso.SocialAdapter"
ACCOUNT_ADAPTER = "assay.accounts.sso.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"  # allauth would send e-mails; the identity provider has verified the address
SESSION_COOKIE_AGE = 14 * 86400
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 2**20
API_RATE = env.rate("API_RATE", "3000/min")  # requests of one user

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PRODUCTION_HTTPS:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # asked from within, without TLS
    SECURE_HSTS_SECONDS = 31536000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, "'unsafe-inline'"],  # Plotly writes style attributes
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# -- who is told --------------------------------------------------------------------------------------

SITE_URL = env.site("SITE_URL", env.text("SITE_URL", f"http://localhost:{PORT}"))
MAIL = env.mail(env.text("EMAIL_URL"))
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.host, MAIL.port, MAIL.user, MAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL, EMAIL_TIMEOUT = MAIL.starttls, MAIL.tls, 8
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", "Assay <assay@localhost>")
WEBHOOK_ALLOWED_HOSTS = [word.lower() for word in env.words("WEBHOOK_ALLOWED_HOSTS")]

# -- the rest ------------------------------------------------------------------------------------------

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LOG_FORMAT, LOG_LEVEL = env.text("LOG_FORMAT", "text"), env.text("LOG_LEVEL", "INFO")
if LOG_FORMAT not in logs.FORMATS:
    raise ImproperlyConfigured(f"LOG_FORMAT={LOG_FORMAT!r}: say {' or '.join(logs.FORMATS)}")
LOGGING = logs.configuration(LOG_FORMAT, LOG_LEVEL)
METRICS_TOKEN = env.text("METRICS_TOKEN") or env.from_file("METRICS_TOKEN_FILE")
