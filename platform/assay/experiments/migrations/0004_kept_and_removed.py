from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0003_artifact_key'),
    ]

    operations = [
        migrations.AddField(
            model_name='experiment',
            name='kept',
            field=models.BooleanField(default=False, help_text="for ever, whatever the project's retention says"),
        ),
        migrations.AddField(
            model_name='run',
            name='points_removed_at',
            field=models.DateTimeField(editable=False, help_text="by the project's retention", null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='log_removed_at',
            field=models.DateTimeField(editable=False, help_text='the same of its output', null=True),
        ),
        migrations.AddField(
            model_name='artifact',
            name='removed_at',
            field=models.DateTimeField(editable=False, help_text='its file is gone since; this row tells', null=True),
        ),
    ]
