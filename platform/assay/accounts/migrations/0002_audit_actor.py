from typing import Any

from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def name_actors(apps: Any, schema_editor: Any) -> None:
    AuditEntry, User = apps.get_model("accounts", "AuditEntry"), apps.get_model("accounts", "User")
    names = User.objects.filter(pk=OuterRef("user_id")).values("username")[:1]
    AuditEntry.objects.exclude(user=None).update(actor=Subquery(names))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField("auditentry", "actor", models.CharField(blank=True, default="", max_length=150),
                            preserve_default=False),
        migrations.RunPython(name_actors, migrations.RunPython.noop),
        migrations.AlterModelOptions("auditentry", {"ordering": ("-pk",), "verbose_name_plural": "audit entries"}),
        migrations.AddIndex("auditentry", models.Index(fields=["project", "-id"], name="audit_of_project")),
    ]
