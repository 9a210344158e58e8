"""The sample service: says that it is well, and scores a text with a tiny model."""

from pathlib import Path

import model
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from markupsafe import escape
from toolz import frequencies

app = FastAPI(title="small")
weights = model.load(Path(__file__).parent / "models" / "score.safetensors")


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/score", response_class=HTMLResponse)
async def score(text: str) -> str:
    words = frequencies(text.lower().split())
    return f"<p>{escape(text)}: {model.score(weights, words):.3f}</p>"
