import subprocess

from fastapi import FastAPI

app = FastAPI()
print(len(app.openapi()), subprocess.check_output(["node", "build.js"], text=True), end="")
