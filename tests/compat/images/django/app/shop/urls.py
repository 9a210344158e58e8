from django.contrib import admin
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext as _


def index(request):
    return render(request, "shop/tests/index.html", {"greeting": _("Welcome")})


urlpatterns = [path("", index), path("admin/", admin.site.urls)]
