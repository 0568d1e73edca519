"""Engines read their folders from the environment; commands pass on what the settings say."""

import os

from django.conf import settings


def share_folders() -> None:
    """Make this process and its children use the settings' ASSAY_HOME and DATA_ROOT."""
    os.environ["ASSAY_HOME"] = str(settings.ASSAY_HOME)
    os.environ["DATA_ROOT"] = str(settings.DATA_ROOT)
