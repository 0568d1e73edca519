"""Who sees what."""

import pytest
from assay.accounts.models import Project
from assay.accounts.permissions import visible_projects
from django.contrib.auth.models import AnonymousUser

pytestmark = pytest.mark.django_db


def test_nobody_sees_a_project_without_members():
    Project.objects.create(slug="empty", name="Empty")
    assert not visible_projects(AnonymousUser()).exists()
