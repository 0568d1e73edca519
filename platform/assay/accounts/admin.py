from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from assay.readonly import ReadOnlyAdmin

from .models import AuditEntry, Membership, Project, Token, User

admin.site.site_header = admin.site.site_title = "Assay"
admin.site.disable_action("delete_selected")  # Django's log, and so ours, misses what is deleted in bulk
admin.site.unregister((EmailAddress, SocialApp, SocialToken, SocialAccount))  # allauth's; only the last is of use here
admin.site.register(User, UserAdmin)


class Members(admin.TabularInline):
    model = Membership
    autocomplete_fields = ("user",)
    extra = 0


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    inlines = (Members,)


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ("project", "user", "role")
    list_filter = ("role", "project")
    search_fields = ("project__slug", "user__username")
    autocomplete_fields = ("project", "user")


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens are made where their text can be shown once; here they are looked at and revoked."""

    list_display = ("name", "start", "user", "scope", "created_at", "expires_at", "last_used_at")
    list_filter = ("scope", "created_at")
    search_fields = ("name", "start", "user__username")
    exclude = ("digest",)
    deletable = True


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "project", "action", "target")
    list_filter = ("action", "project")
    search_fields = ("target", "actor", "action")
    date_hierarchy = "at"


@admin.register(SocialAccount)
class IdentityAdmin(ReadOnlyAdmin):
    """Whom the identity provider's accounts stand for; deleting one disconnects it."""

    list_display = ("user", "provider", "uid", "last_login")
    search_fields = ("user__username", "uid")
    exclude = ("extra_data",)
    deletable = True
