"""Zstandard (RFC 8878): the standard library's since Python 3.14 (PEP 784), else its backport."""

from __future__ import annotations

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from backports import zstd

__all__ = ["zstd"]
