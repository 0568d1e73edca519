from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('fleet', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='node',
            name='health',
            field=models.JSONField(default=dict, help_text='numbers that came with the last heartbeat'),
        ),
    ]
