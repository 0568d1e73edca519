from typing import Any

import assay.experiments.models
from django.db import migrations, models
from django.db.models.functions import Cast


def keep_the_files_where_they_are(apps: Any, schema_editor: Any) -> None:
    """Files were named by their rows' ids."""
    artifacts = apps.get_model("experiments", "Artifact").objects
    artifacts.update(key=Cast("pk", models.CharField(max_length=32)))


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0002_kinds_and_origins'),
    ]

    operations = [
        migrations.AddField(
            model_name='artifact',
            name='key',
            field=models.CharField(default=assay.experiments.models.new_key, editable=False, max_length=32),
        ),
        migrations.RunPython(keep_the_files_where_they_are),
    ]
