broker_url = "memory://"
result_backend = "cache+memory://"
task_always_eager = True
imports = ("worker.tests.jobs",)
