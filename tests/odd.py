"""An image of all that rewriters get wrong, and what is to leave it."""

from __future__ import annotations

import io
import tarfile

CAPABILITY = bytes.fromhex("0100000202000000000000000000000000000000")
"""The value of `security.capability` for cap_net_bind_service=ep (capabilities(7))."""
SPARSE = b"1\n1000000\n3\n".ljust(512, b"\0") + b"abc"
"""GNU sparse 1.0: a map of one part, and the part; the file is 1,000,003 bytes long."""


def layers() -> list[bytes]:
    return [_base(), _middle(), _doomed(), _top()]


REMOVED = [b"links/first", b"app/drop", b"only/here", b"was-link/inner", b"dev/null", b"caf\xe9/x"]
"""Paths that leave; `only` is emptied by it and goes, and with it all of one layer."""


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **fields: object):  # type: ignore[no-untyped-def]
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
    member.uid, member.gid = 1000, 50
    member.mtime = 1_600_000_000
    for key, value in fields.items():
        setattr(member, key, value)
    return member


class _Layer:
    def __init__(self, form: int = tarfile.PAX_FORMAT) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(  # noqa: SIM115 - closed in `bytes`
            fileobj=self._buffer, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
        )

    def folder(self, name: str, **fields: object) -> _Layer:
        self._tar.addfile(_member(name, tarfile.DIRTYPE, **fields))
        return self

    def file(self, name: str, content: bytes = b"", **fields: object) -> _Layer:
        member = _member(name, **fields)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def other(self, name: str, kind: bytes, link: str = "", **fields: object) -> _Layer:
        self._tar.addfile(_member(name, kind, link, **fields))
        return self

    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def _base() -> bytes:
    return (
        _Layer()
        .folder("app", mode=0o2750)
        .file("app/keep", b"k" * 700)
        .file("app/drop", b"d" * 900)
        .file(
            "app/server",
            b"\x7fELF" + b"s" * 600,
            mode=0o4755,
            pax_headers={
                "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape"),
                "mtime": "1600000000.123456789",
            },
        )
        .file(
            "app/sparse",
            SPARSE,
            pax_headers={
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": "app/sparse",
                "GNU.sparse.realsize": "1000003",
            },
        )
        .folder("dev")
        .other("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
        .other("dev/zero", tarfile.CHRTYPE, devmajor=1, devminor=5)
        .other("dev/pipe", tarfile.FIFOTYPE)
        .folder("links")
        .file("links/first", b"shared" * 200, uid=7)
        .other("links/second", tarfile.LNKTYPE, "links/first", uid=7)
        .other("links/third" + "x" * 120, tarfile.LNKTYPE, "links/first", uid=7)
        .folder("opaque", mode=0o700)
        .file("opaque/old", b"o" * 100)
        .folder("opaque/below")
        .file("opaque/below/older", b"o" * 10)
        .folder("turn")
        .file("turn/file", b"t" * 50)
        .folder("was-link")
        .file("was-link/first-life", b"1")
        .folder("gone")
        .file("gone/a", b"g" * 80)
        .file("gone/b", b"g" * 81)
        .bytes()
    )


def _middle() -> bytes:
    return (
        _Layer(tarfile.GNU_FORMAT)
        .folder("opaque", mode=0o711)
        .file("opaque/.wh..wh..opq")
        .file("opaque/new", b"n" * 30)
        .file(".wh.gone")
        .other("turn", tarfile.SYMTYPE, "app")
        .other("was-link", tarfile.SYMTYPE, "app")
        .folder("caf\udce9", mode=0o500)
        .file("caf\udce9/x", b"x")
        .file("caf\udce9/y\x1b[31m", b"y")
        .folder("deep")
        .file("deep/" + "n" * 150, b"long")
        .bytes()
    )


def _doomed() -> bytes:
    return _Layer().folder("only").file("only/here", b"!" * 300).bytes()


def _top() -> bytes:
    return (
        _Layer()
        .folder("app", mode=0o2755)
        .file("app/keep", b"K" * 10)
        .folder("turn")
        .file("turn/again", b"a folder once more")
        .folder("was-link")
        .file("was-link/inner", b"i")
        .folder("gone", mode=0o1777)
        .file("gone/c", b"back")
        .folder("links")
        .file("links/.wh.second")
        .bytes()
    )
