"""The WSGI entry that gunicorn serves: `gunicorn --chdir platform assay.wsgi`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "platform")) if path not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assay.settings")

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()
