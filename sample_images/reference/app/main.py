"""A small Arabic text service, the kind that ends up in a nine gigabyte image.

It needs torch and camel_tools at run time, and nothing of the compilers,
package lists and download caches that its image carries along.
"""

import camel_tools
import fastapi
import torch
from camel_tools.tokenizers.word import simple_word_tokenize
from camel_tools.utils.dediac import dediac_ar
from fastapi import FastAPI

app = FastAPI(title="arabic-text")


@app.get("/health")
def health() -> dict:
    """Ready when torch can compute; the process would not be up without its imports."""
    total = int(torch.arange(4).sum())
    return {
        "status": "ok" if total == 6 else "broken",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "camel_tools": camel_tools.__version__,
        "fastapi": fastapi.__version__,
    }


@app.get("/tokens")
def tokens(text: str) -> dict:
    """The words of a sentence, without its diacritics."""
    return {"tokens": simple_word_tokenize(dediac_ar(text))}
