"""What kind of bytes a file holds, whoever owns them: told by place, by name and by format."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Category(StrEnum):
    """A kind of bytes. The values are what people read in every output."""

    DEVICE_CODE = "device code"
    NATIVE = "native libraries"
    PROGRAMS = "programs"
    MODELS = "model weights"
    SOURCE = "source"
    BYTECODE = "bytecode"
    TESTS = "tests"
    DOCS = "docs"
    HEADERS = "headers"
    STATIC = "static libraries"
    STUBS = "type stubs"
    LOCALE = "locale data"
    DEBUG = "debug symbols"
    METADATA = "package metadata"
    CACHES = "caches"
    DATA = "data"


MAGIC_BYTES = 64
"""How much of a file's beginning tells its format."""

TEST_FOLDERS = frozenset((b"tests", b"test", b"idle_test"))
"""Names of folders that hold tests. `testing` is not one: programs import numpy.testing."""

PATH_FILE = 1 << 16
"""Bytes below which a `.pth` lists paths for Python's `site`; PyTorch's weights have more."""

_FOLDERS: dict[bytes, Category] = {
    **dict.fromkeys(TEST_FOLDERS, Category.TESTS),
    b"include": Category.HEADERS,
    b"docs": Category.DOCS,
    b"doc": Category.DOCS,
    b"locale": Category.LOCALE,
    b"locales": Category.LOCALE,
    b"locale-data": Category.LOCALE,
    b"__pycache__": Category.BYTECODE,
}
_PLACES: dict[bytes, Category] = {
    b"usr/share/doc": Category.DOCS,
    b"usr/share/man": Category.DOCS,
    b"usr/share/info": Category.DOCS,
    b"usr/share/gtk-doc": Category.DOCS,
    b"usr/share/doc-base": Category.DOCS,
    b"usr/local/share/man": Category.DOCS,
    b"usr/local/share/doc": Category.DOCS,
    b"usr/share/locale": Category.LOCALE,
    b"usr/share/i18n": Category.LOCALE,
    b"usr/lib/locale": Category.LOCALE,
    b"usr/lib/debug": Category.DEBUG,
    b"var/lib/dpkg": Category.METADATA,
    b"var/lib/rpm": Category.METADATA,
    b"usr/lib/sysimage": Category.METADATA,
    b"lib/apk/db": Category.METADATA,
    b"usr/lib/apk/db": Category.METADATA,
    b"var/lib/apt/lists": Category.CACHES,
    b"var/cache": Category.CACHES,
}
"""Places that hold one kind of bytes whatever the files in them are called."""

_FINAL = frozenset((Category.TESTS, Category.DEBUG, Category.CACHES))
"""Kinds of place in which a file's own name does not count any more."""

_SUFFIXES: dict[bytes, Category] = {
    suffix: category
    for category, suffixes in {
        Category.SOURCE: b"py pyx pxd pxi js mjs cjs ts jsx tsx c cc cpp cxx cu pl pm rb sh lua r"
        b" go rs java f f90 vue css scss html htm jinja j2 cmake sql",
        Category.BYTECODE: b"pyc pyo",
        Category.STUBS: b"pyi",
        Category.HEADERS: b"h hh hpp hxx cuh inl inc tcc",
        Category.STATIC: b"a la lib o obj",
        Category.NATIVE: b"so dylib dll pyd node",
        Category.DOCS: b"rst md adoc pod texi",
        Category.LOCALE: b"mo po gmo",
        Category.DEBUG: b"debug pdb",
        Category.MODELS: b"safetensors gguf ggml onnx pt pth ckpt tflite keras h5 hdf5 mlmodel"
        b" joblib caffemodel pbtxt engine",
        Category.DEVICE_CODE: b"cubin ptx fatbin hsaco bc",
        Category.PROGRAMS: b"exe",
        Category.METADATA: b"egg-link",
        # HDF5 and zip inside, as weights are, but measurements by their name.
        Category.DATA: b"nc mat h5ad loom nxs npz npy",
    }.items()
    for suffix in suffixes.split()
}
_SHARED_LIBRARY = re.compile(rb"\.so(\.[0-9][^/]*)?\Z").search
_TENSORFLOW_SHARD = re.compile(rb".*\.data-\d{5}-of-\d{5}\Z", re.DOTALL).match
_METADATA_FOLDER = re.compile(rb"[^/]*\.(?:dist-info|egg-info)\Z").match


def folder_category(folder: bytes, parent: Category | None) -> Category | None:
    """What the place says of the files in it; `parent` is what the folder around it says."""
    if parent in _FINAL:
        return parent
    place = _PLACES.get(folder)
    if place is not None:
        return place
    name = folder[folder.rfind(b"/") + 1 :]
    if _METADATA_FOLDER(name):
        return Category.METADATA
    found = _FOLDERS.get(name)
    if found is Category.LOCALE and b"/share" not in folder and b"packages" not in folder:
        found = None  # `locale` is a module's name as well
    if found is None and parent is not Category.BYTECODE:
        return parent
    return found


def file_category(
    name: bytes, place: Category | None, mode: int, head: bytes | None, size: int = PATH_FILE
) -> Category:
    """What kind of bytes the file `name` holds.

    `place` is what `folder_category` says of its folder, `head` the file's first bytes where they
    were read, `size` its bytes.
    """
    if place in _FINAL or place is Category.METADATA:
        return place or Category.DATA
    dot = name.rfind(b".")
    ending = name[dot + 1 :].lower() if dot > 0 else b""
    suffix = _SUFFIXES.get(ending)
    if ending == b"pth" and size < PATH_FILE:
        return Category.SOURCE
    if head and (suffix is None or suffix is Category.MODELS):
        if model_format(head) is not None:
            return Category.MODELS
        if head.startswith(b"\x7fELF"):
            return Category.NATIVE if b".so" in name else Category.PROGRAMS
    if suffix is Category.BYTECODE or suffix is Category.NATIVE:
        return suffix
    if ending == b"py":
        return Category.SOURCE  # botocore.docs and django.conf.locale hold modules, not documents
    if place in (Category.DOCS, Category.LOCALE):
        return place
    if suffix is not None:
        return suffix
    if b".so" in name and _SHARED_LIBRARY(name):
        return Category.NATIVE
    if name == b"saved_model.pb" or (b".data-" in name and _TENSORFLOW_SHARD(name)):
        return Category.MODELS
    if place is not None:
        return place
    return Category.PROGRAMS if mode & 0o111 else Category.DATA


def model_format(head: bytes) -> str | None:
    """The model format that a file's first bytes tell, or None.

    Formats: safetensors (u64 header length, then JSON), GGUF, HDF5 (superblock signature), ONNX
    (protobuf with `ir_version`, then a producer name), TensorFlow Lite (`TFL3` at offset 4), zip
    and pickle checkpoints of PyTorch, GGML before GGUF, fastText (its magic number), TensorRT.
    """
    if head[:4] == b"GGUF":
        return "GGUF"
    if head[:4] in (b"lmgg", b"fmgg", b"tjgg"):
        return "GGML"
    if head[:4] == b"ftrt":
        return "TensorRT"
    if head[:4] == b"\xba\x16\x4f\x2f":
        return "fastText"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "HDF5"
    if head[4:8] == b"TFL3":
        return "TensorFlow Lite"
    if (
        head[8:9] == b"{"
        and 8 <= int.from_bytes(head[:8], "little") < 1 << 28
        and b'"' in head[9:20]
    ):
        return "safetensors"
    if head[:4] == b"PK\x03\x04" and (b"/data.pkl" in head or b"/version" in head[30:]):
        return "PyTorch"
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04") and b"ctorch" in head:
        return "PyTorch"
    if head[:2] == b"\x80\x02" and head[2:14] == b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19":
        return "PyTorch"
    if (
        head[:1] == b"\x08"
        and head[1:2] <= b"\x20"
        and head[2:3] == b"\x12"
        and (b"pytorch" in head or b"onnx" in head or b"keras" in head or b"tf2" in head)
    ):
        return "ONNX"
    return None


def by_name(counts: Mapping[Category, int]) -> dict[str, int]:
    """Sizes by the category's printed name, largest first and then by name."""
    return {
        category.value: size
        for category, size in sorted(counts.items(), key=lambda item: (-item[1], item[0].value))
        if size
    }
