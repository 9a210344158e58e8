from django.test import TestCase


class PageTest(TestCase):
    def test_it_greets(self):
        self.assertContains(self.client.get("/"), "Willkommen")
