from typing import Any

from django.db import migrations, models


def note(apps: Any, schema_editor: Any) -> None:
    """Of experiments whose runs have all ended; nobody is told of them."""
    Run = apps.get_model("experiments", "Run")
    of_this = Run.objects.filter(experiment=models.OuterRef("pk")).order_by()
    last = of_this.values("experiment").annotate(last=models.Max("ended_at")).values("last")
    apps.get_model("experiments", "Experiment").objects.filter(
        models.Exists(of_this), ~models.Exists(of_this.filter(state__in=("queued", "running"))),
    ).update(ended_at=models.Subquery(last))


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0004_kept_and_removed'),
    ]

    operations = [
        migrations.AddField(
            model_name='experiment',
            name='ended_at',
            field=models.DateTimeField(blank=True, help_text='noted by maintenance once all of it has ended', null=True),
        ),
        migrations.AddIndex(
            model_name='experiment',
            index=models.Index(condition=models.Q(('ended_at', None)), fields=['id'], name='experiment_unended'),
        ),
        migrations.RunPython(note, migrations.RunPython.noop),
    ]
