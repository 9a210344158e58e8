import json
from importlib import resources

from django.core.management.base import BaseCommand
from django.test import Client


class Command(BaseCommand):
    def handle(self, *args, **options):
        client = Client()
        self.stdout.write(client.get("/").content.decode())
        page = client.get("/admin/login/").content.decode()
        self.stdout.write(str([word for word in ("Anmelden", "Passwort") if word in page]))
        told = resources.files("shop").joinpath("fixtures", "test", "prices.json")
        self.stdout.write(json.dumps(json.loads(told.read_text())))
        polish = client.get("/admin/login/", headers={"accept-language": "pl"})
        self.stdout.write(str("Zaloguj" in polish.content.decode()))
