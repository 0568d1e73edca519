import json
from typing import Any

from django.db import migrations, models


def move(apps: Any, schema_editor: Any) -> None:
    """What samplers were told goes from their states to the trials; legs of trials that have ended are of no account."""
    Trial, Leg = apps.get_model("sweeps", "Trial"), apps.get_model("sweeps", "Leg")
    for state in apps.get_model("sweeps", "SamplerState").objects.iterator(chunk_size=1):
        content = json.loads(state.content)
        content.pop("trials", None)
        told = {item.pop("id"): item | {"order": order} for order, item in enumerate(content.pop("told", []))}
        trials = list(Trial.objects.filter(sweep=state.sweep_id, number__in=told))
        for trial in trials:
            item = told[trial.number]
            trial.values = item.pop("values", None) or trial.values
            trial.told = item
        Trial.objects.bulk_update(trials, ["values", "told"], batch_size=500)
        state.content = json.dumps(content, separators=(",", ":"))
        state.save()
    Leg.objects.filter(told=False).exclude(trial__outcome="running").update(told=True)


class Migration(migrations.Migration):

    dependencies = [
        ('sweeps', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='trial',
            name='told',
            field=models.JSONField(help_text='what the sampler was told beside the values, and its place: {order, attempt, failure, step, checkpoint, partial}', null=True),
        ),
        migrations.AlterField(
            model_name='leg',
            name='told',
            field=models.BooleanField(default=False, help_text='its end was taken into account, or is of no account'),
        ),
        migrations.RunPython(move, migrations.RunPython.noop),
    ]
