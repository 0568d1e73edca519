from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0005_ended_at'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['experiment', 'engine', 'problem', 'method', 'state', 'label'], name='run_lists'),
        ),
    ]
