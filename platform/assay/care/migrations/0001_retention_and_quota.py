import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Retention',
            fields=[
                ('project', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='retention', serialize=False, to='accounts.project')),
                ('points_days', models.PositiveIntegerField(blank=True, null=True)),
                ('artifacts_days', models.PositiveIntegerField(blank=True, null=True)),
                ('checkpoints_days', models.PositiveIntegerField(blank=True, null=True)),
                ('log_days', models.PositiveIntegerField(blank=True, null=True)),
                ('newest', models.PositiveIntegerField(default=0, help_text='so many newest experiments keep everything')),
            ],
        ),
        migrations.CreateModel(
            name='Quota',
            fields=[
                ('project', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='quota', serialize=False, to='accounts.project')),
                ('artifact_bytes', models.BigIntegerField(blank=True, null=True)),
                ('queued_runs', models.PositiveIntegerField(blank=True, null=True)),
            ],
        ),
    ]
