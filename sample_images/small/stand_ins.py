"""Files with real names and places whose content is made up: Debian, CPython, caches, the model.

No program is passed on with them, and the image stays small.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from layers import Member, directory, parents, symlink

APP = Path(__file__).resolve().parent / "app"
APP_FILES = ("Dockerfile", "main.py", "model.py", "requirements.txt", "tests/test_health.py")
"""Named one by one, so that a stray file in the checkout does not get into the image."""
ACCOUNTS = b"root:x:0:0:root:/root:/bin/sh\n"
GROUPS = b"root:x:0:\n"
LIB = "usr/lib/x86_64-linux-gnu"
PYTHON = "usr/local/lib/python3.11"
ZONES = "usr/share/zoneinfo"
CATALOGUE = b"\xde\x12\x04\x95"
"""How a gettext .mo file begins."""
PING_MAY_OPEN_RAW_SOCKETS = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
"""`cap_net_raw=ep`, as setcap writes it (linux/capability.h, revision 2)."""
OS_RELEASE = b"""\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION_CODENAME=bookworm
ID=debian
"""


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not compress, always the same for the same seed."""
    blocks = (
        hashlib.sha256(f"{seed} {count}".encode()).digest() for count in range(size // 32 + 1)
    )
    return b"".join(blocks)[:size]


def text(name: str, size: int = 200) -> Member:
    line = f"A stand-in for /{name}, see sample_images/README.md.\n".encode(errors="replace")
    return Member(name, content=(line * (size // len(line) + 1))[:size])


def binary(name: str, size: int, magic: bytes = b"", mode: int = 0o644) -> Member:
    return Member(name, content=magic + noise(name, size - len(magic)), mode=mode)


def gzipped(member: Member) -> Member:
    """Stored, not deflated: the same with every zlib."""
    raw = member.content
    body = struct.pack("<BHH", 1, len(raw), len(raw) ^ 0xFFFF) + raw
    content = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + body + struct.pack("<II", zlib.crc32(raw), len(raw))
    return replace(member, name=member.name + ".gz", content=content)


DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME = 0, 1, 5, 10, 14


def elf(name: str, size: int, *needed: str, mode: int = 0o644) -> Member:
    """An x86-64 ELF file without code: only what it needs and, of a library, what it is called."""
    own = [(DT_SONAME, PurePosixPath(name).name)] if ".so" in name else []
    strings, dynamic = b"\0", []
    for tag, string in [*((DT_NEEDED, library) for library in needed), *own]:
        dynamic.append((tag, len(strings)))
        strings += string.encode() + b"\0"
    start = 64 + 2 * 56  # After the header and the two segments' headers.
    at = start + 16 * (len(dynamic) + 3)
    dynamic += [(DT_STRTAB, at), (DT_STRSZ, len(strings)), (DT_NULL, 0)]
    entries = b"".join(struct.pack("<QQ", *entry) for entry in dynamic)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0
    )
    # One segment to load, the whole file, and one that points out the dynamic section.
    head += struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    head += struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(entries), len(entries), 8)
    return binary(name, size, head + entries + strings, mode)


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package."""

    name: str
    version: str
    members: tuple[Member, ...]
    old_paths: bool = False
    """Its file list still says /bin and /lib, as packages from before the merge of /usr do."""
    same: bool = False
    """`Multi-Arch: same`: the architecture is part of its file names in the database."""


def package(
    name: str, version: str, *members: Member, old_paths: bool = False, same: bool = False
) -> Package:
    folder = f"usr/share/doc/{name}"
    changes = gzipped(text(f"{folder}/changelog.Debian", 3000))
    documented = (*members, text(f"{folder}/copyright", 900), changes)
    return Package(name, version, documented, old_paths, same)


BASE_PACKAGES = (
    package(
        "base-files",
        "12.4+deb12u12",
        Member("usr/lib/os-release", content=OS_RELEASE),
        symlink("etc/os-release", "../usr/lib/os-release"),
        text("etc/debian_version", 60),
    ),
    package(
        "libc6",
        "2.36-9+deb12u13",
        elf(f"{LIB}/ld-linux-x86-64.so.2", 8_000, mode=0o755),
        elf(f"{LIB}/libc.so.6", 60_000, "ld-linux-x86-64.so.2", mode=0o755),
        elf(f"{LIB}/libm.so.6", 9_000, "libc.so.6"),
        elf(f"{LIB}/libpthread.so.0", 2_000, "libc.so.6"),
        symlink("usr/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        old_paths=True,
        same=True,
    ),
    package(
        "tzdata",
        "2025b-0+deb12u2",
        # Three names of one file: its bytes count once, at the first.
        binary(f"{ZONES}/Etc/UCT", 114, b"TZif2"),
        Member(f"{ZONES}/Etc/UTC", b"1", target=f"{ZONES}/Etc/UCT"),
        Member(f"{ZONES}/Etc/Zulu", b"1", target=f"{ZONES}/Etc/UCT"),
        binary(f"{ZONES}/Europe/Berlin", 2_298, b"TZif2"),
    ),
    package(
        "util-linux",
        "2.38.1-5+deb12u3",
        elf("usr/bin/su", 12_000, "libc.so.6", mode=0o4755),
        gzipped(text("usr/share/man/man1/su.1", 6_000)),
        binary("usr/share/locale/de/LC_MESSAGES/util-linux.mo", 9_000, CATALOGUE),
        binary("usr/share/locale/fr/LC_MESSAGES/util-linux.mo", 9_000, CATALOGUE),
        old_paths=True,
    ),
)
PING = replace(
    elf("usr/bin/ping", 9_000, "libc.so.6", mode=0o755),
    xattrs=(("security.capability", PING_MAY_OPEN_RAW_SOCKETS),),
)
APT_PACKAGES = (
    package("iputils-ping", "3:20221126-1+deb12u1", PING, old_paths=True),
    package(
        "libgomp1",
        "12.2.0-14+deb12u1",
        elf(f"{LIB}/libgomp.so.1.0.0", 20_000, "libc.so.6"),
        symlink(f"{LIB}/libgomp.so.1", "libgomp.so.1.0.0"),
        same=True,
    ),
)


def dpkg_info(package: Package) -> tuple[Member, ...]:
    """The package's file list and checksums."""

    def listed(name: str) -> str:
        old = package.old_paths and name.startswith(("usr/bin", "usr/lib"))
        return name.removeprefix("usr/") if old else name

    paths = {listed(member.name) for member in package.members}
    paths |= {folder for path in paths for folder in parents(path)} | {"."}
    files = {member.name: member for member in package.members if member.kind in b"01"}
    sums = []
    for name, member in sorted(files.items()):
        # Settings have no checksum here: dpkg keeps theirs in the status file.
        if not name.startswith("etc/"):
            content = files[member.target or name].content
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            sums.append(f"{md5}  {listed(name)}\n")
    stem = f"var/lib/dpkg/info/{package.name}" + (":amd64" if package.same else "")
    return (
        Member(f"{stem}.list", content="".join(f"/{path}\n" for path in sorted(paths)).encode()),
        Member(f"{stem}.md5sums", content="".join(sums).encode()),
    )


def dpkg_status(packages: Iterable[Package]) -> bytes:
    stanzas = []
    for package in sorted(packages, key=lambda package: package.name):
        size = sum(len(member.content) for member in package.members)
        stanzas += [
            f"Package: {package.name}",
            "Status: install ok installed",
            "Priority: optional",
            "Section: misc",
            f"Installed-Size: {size // 1024 + 1}",
            "Maintainer: nobody <nobody@example.org>",
            "Architecture: amd64",
            *(["Multi-Arch: same"] if package.same else []),
            f"Version: {package.version}",
            f"Description: a stand-in for {package.name}",
            "",
        ]
    return "\n".join([*stanzas, ""]).encode()


def base_files() -> Iterator[Member]:
    yield from (symlink(name, f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin"))
    yield from (directory("usr/sbin"), directory("proc"))
    yield from (directory("tmp", 0o1777), directory("root", 0o700))
    yield symlink("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
    yield from (Member("etc/passwd", content=ACCOUNTS), Member("etc/group", content=GROUPS))
    yield Member("var/lib/dpkg/status", content=dpkg_status(BASE_PACKAGES))
    # Without it dpkg does not look for file lists with an architecture in their name.
    yield Member("var/lib/dpkg/info/format", content=b"1\n")
    for package in BASE_PACKAGES:
        yield from (*package.members, *dpkg_info(package))


def interpreter_files() -> Iterator[Member]:
    """CPython as `make install` lays it out."""
    yield elf("usr/local/bin/python3.11", 9_000, "libpython3.11.so.1.0", "libc.so.6", mode=0o755)
    yield symlink("usr/local/bin/python3", "python3.11")
    yield symlink("usr/local/bin/python", "python3")
    yield elf("usr/local/lib/libpython3.11.so.1.0", 60_000, "libm.so.6", "libc.so.6", mode=0o755)
    yield symlink("usr/local/lib/libpython3.11.so", "libpython3.11.so.1.0")
    for name in ("LICENSE.txt", "os.py", "site.py", "encodings/__init__.py"):
        yield text(f"{PYTHON}/{name}", 4_000)
    for name in ("test/test_os.py", "idlelib/idle_test/test_config.py"):
        yield text(f"{PYTHON}/{name}", 9_000)
    json_module = f"{PYTHON}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so"
    yield elf(json_module, 7_000, "libc.so.6", mode=0o755)
    yield binary(f"{PYTHON}/config-3.11-x86_64-linux-gnu/libpython3.11.a", 60_000, b"!<arch>\n")
    version = b'#define PY_VERSION "3.11.13"\n'
    yield Member("usr/local/include/python3.11/patchlevel.h", content=version)
    yield text("usr/local/include/python3.11/Python.h", 3_000)
    yield text("usr/local/share/man/man1/python3.11.1", 6_000)
    yield text(f"{PYTHON}/site-packages/README.txt", 119)


def apt_files() -> Iterator[Member]:
    """Two packages, and what `apt-get update && apt-get install` leaves behind."""
    yield Member("var/lib/dpkg/status", content=dpkg_status(BASE_PACKAGES + APT_PACKAGES))
    yield Member("var/lib/dpkg/status-old", content=dpkg_status(BASE_PACKAGES))
    for package in APT_PACKAGES:
        yield from (*package.members, *dpkg_info(package))
        deb = f"{package.name}_{package.version.replace(':', '%3a')}_amd64.deb"
        yield binary(f"var/cache/apt/archives/{deb}", 40_000, b"!<arch>\ndebian-binary")
    yield Member("var/cache/apt/archives/lock", mode=0o640)
    yield binary("var/cache/apt/pkgcache.bin", 50_000)
    yield directory("var/lib/apt/lists/partial", 0o700)
    yield Member("var/lib/apt/lists/lock", mode=0o640)
    index = "mirror.example_debian_dists_bookworm_main_binary-amd64_Packages.lz4"
    yield binary(f"var/lib/apt/lists/{index}", 100_000, b"\x04\x22\x4d\x18")
    yield text("var/log/dpkg.log", 5_000)


def app_files() -> Iterator[Member]:
    """The application, and what a `COPY .` without a .dockerignore brings along."""
    for name in APP_FILES:
        # As text, so that newlines are what git stores, whatever the checkout has.
        content = (APP / name).read_text(encoding="utf-8")
        yield Member(f"app/{name}", content=content.encode())
    model = safetensors(8_192)
    yield Member("app/models/score.safetensors", content=model)
    yield Member("app/models/score-backup.safetensors", content=model)
    yield text(f"app/tests/{'a-question-saved-under-its-whole-wording-' * 4}why-not.txt")
    yield text("app/tests/caf\udce9.txt")
    # Made by the developer's own Python 3.12: the image's 3.11 never reads it.
    yield binary("app/__pycache__/main.cpython-312.pyc", 1_500, b"\xcb\r\r\n")
    yield Member("app/.git/HEAD", content=b"ref: refs/heads/main\n")
    yield text("app/.git/config", 120)
    pack = f"app/.git/objects/pack/pack-{noise('pack', 20).hex()}.pack"
    yield binary(pack, 40_000, b"PACK\0\0\0\2")


def safetensors(count: int) -> bytes:
    """One float32 tensor with values from -1 to 1: exact fractions, the same on every machine."""
    numbers = struct.unpack(f"<{count}H", noise("weights", 2 * count))
    values = struct.pack(f"<{count}f", *((number - 32_768) / 32_768 for number in numbers))
    weight = {"dtype": "F32", "shape": [count], "data_offsets": [0, len(values)]}
    tensors = json.dumps({"weight": weight}).encode()
    tensors += b" " * (-len(tensors) % 8)
    return struct.pack("<Q", len(tensors)) + tensors + values
