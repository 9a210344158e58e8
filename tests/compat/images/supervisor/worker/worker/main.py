import json
from pathlib import Path

from celery import Celery, shared_task

app = Celery("worker")
app.config_from_envvar("CELERY_CONFIG_MODULE")
HERE = Path(__file__).parent
PARTS = ("tests", "data")


@shared_task(name="limit")
def limit():
    return json.loads(HERE.joinpath(*PARTS, "limits.json").read_text())["limit"]
