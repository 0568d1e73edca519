import assay.notifications.models
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
        ('experiments', '0005_ended_at'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='MailChoice',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='mail_choice', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('when', models.CharField(choices=[('ended', 'every end'), ('failed', 'failures only')], max_length=6)),
            ],
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.CharField(max_length=500)),
                ('when', models.CharField(choices=[('ended', 'every end'), ('failed', 'failures only')], default='ended', max_length=6)),
                ('salt', models.CharField(default=assay.notifications.models.new_salt, max_length=32)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='accounts.project')),
            ],
            options={
                'ordering': ('id',),
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('body', models.JSONField(help_text='what is told; see docs/notifications.md')),
                ('created_at', models.DateTimeField(auto_now_add=True, db_index=True)),
                ('progress', models.CharField(choices=[('waiting', 'Waiting'), ('delivered', 'Delivered'), ('gave up', 'Gave Up')], default='waiting', max_length=9)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('next_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('status', models.PositiveIntegerField(help_text='HTTP status of the last answer', null=True)),
                ('problem', models.CharField(blank=True, help_text='of the last attempt', max_length=300)),
                ('experiment', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='experiments.experiment')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('webhook', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='notifications.webhook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ('-created_at',),
                'indexes': [models.Index(condition=models.Q(('progress', 'waiting')), fields=['next_at'], name='delivery_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(('webhook', None), ('user', None), _connector='XOR'), name='one_receiver')],
            },
        ),
    ]
