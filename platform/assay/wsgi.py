"""The WSGI entry that gunicorn serves: `gunicorn --chdir platform assay.wsgi`."""

import gc
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "platform")) if path not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assay.settings")

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import get_resolver  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

application = get_wsgi_application()
application.request_class = import_string("assay.gate.Utf8Request")
_ = get_resolver().url_patterns  # pages and dashboards are imported now, not by the first request

# What is imported stays: a collection that walks over all of it takes 160 ms, which large tables set off each time.
gc.collect()
gc.freeze()
