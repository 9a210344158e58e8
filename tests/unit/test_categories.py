"""What kind of bytes a file holds: by place, by name, by format."""

from __future__ import annotations

import pytest

from slimmer.categories import Category, by_name, file_category, folder_category, model_format

LARGE = 1 << 20


def category(
    path: str, mode: int = 0o644, head: bytes | None = None, size: int = LARGE
) -> Category:
    *folders, name = path.encode().split(b"/")
    place: Category | None = None
    for depth in range(1, len(folders) + 1):
        place = folder_category(b"/".join(folders[:depth]), place)
    return file_category(name, place, mode, head, size)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s/site-packages/numpy/core/_multiarray.cpython-311-x86_64-linux-gnu.so", Category.NATIVE),
        ("usr/lib/libssl.so.3", Category.NATIVE),
        ("usr/lib/libtorch.so.2.9.0", Category.NATIVE),
        ("usr/lib/libc.a", Category.STATIC),
        ("s/site-packages/numpy/tests/test_a.py", Category.TESTS),
        ("s/site-packages/numpy/tests/__pycache__/test_a.cpython-311.pyc", Category.TESTS),
        ("s/site-packages/numpy/testing/a.py", Category.SOURCE),
        ("s/site-packages/botocore/docs/client.py", Category.SOURCE),
        ("s/site-packages/botocore/docs/readme.rst", Category.DOCS),
        ("s/site-packages/torch/include/ATen/ATen.h", Category.HEADERS),
        ("usr/include/c++/12/vector", Category.HEADERS),
        ("usr/share/doc/bash/copyright", Category.DOCS),
        ("usr/share/man/man1/ls.1.gz", Category.DOCS),
        ("usr/share/locale/de/LC_MESSAGES/a.mo", Category.LOCALE),
        ("s/site-packages/babel/locale-data/de.dat", Category.LOCALE),
        ("usr/lib/python3.11/locale/x.dat", Category.DATA),
        ("usr/lib/debug/.build-id/aa/bb.debug", Category.DEBUG),
        ("s/site-packages/torch-2.9.0.dist-info/RECORD", Category.METADATA),
        ("var/lib/dpkg/info/bash.list", Category.METADATA),
        ("s/site-packages/a/__pycache__/b.cpython-311.pyc", Category.BYTECODE),
        ("s/site-packages/a/b.pyi", Category.STUBS),
        ("opt/model.safetensors", Category.MODELS),
        ("opt/1/variables/variables.data-00000-of-00001", Category.MODELS),
        ("opt/1/saved_model.pb", Category.MODELS),
        ("opt/measured.nc", Category.DATA),
        ("nvvm/libdevice/libdevice.10.bc", Category.DEVICE_CODE),
        ("s/site-packages/setuptools/cli-64.exe", Category.PROGRAMS),
        ("var/cache/apt/pkgcache.bin", Category.CACHES),
        ("etc/hosts", Category.DATA),
    ],
)
def test_a_file_s_place_and_name_tell_its_category(path: str, expected: Category):
    assert expected is category(path)


def test_a_small_pth_lists_paths_and_a_large_one_holds_weights():
    assert Category.SOURCE is category("s/site-packages/distutils-precedence.pth", size=151)
    assert Category.MODELS is category("opt/resnet.pth")


def test_an_executable_without_any_other_sign_is_a_program():
    assert Category.PROGRAMS is category("usr/bin/tool", mode=0o755)


def test_elf_is_told_by_its_first_bytes():
    head = b"\x7fELF\x02\x01\x01".ljust(64, b"\0")

    assert Category.PROGRAMS is category("opt/server", head=head)
    assert Category.NATIVE is category("opt/libserver.so.1-custom", head=head)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"lmgg\x01\0\0\0", "GGML"),
        (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
        (b"\x1c\0\0\0TFL3\0", "TensorFlow Lite"),
        ((123).to_bytes(8, "little") + b'{"__metadata__":{}', "safetensors"),
        (b"PK\x03\x04" + bytes(26) + b"archive/data.pklFB", "PyTorch"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0", "ONNX"),
        (b"\x7fELF\x02\x01\x01", None),
        (b"PK\x03\x04" + bytes(26) + b"word/document.xml", None),
        (b"", None),
    ],
)
def test_weights_are_told_by_format(head: bytes, expected: str | None):
    assert expected == model_format(head)


def test_sizes_are_printed_by_name_largest_first():
    counts = {Category.DOCS: 1, Category.NATIVE: 3, Category.DATA: 3, Category.TESTS: 0}

    assert [("data", 3), ("native libraries", 3), ("docs", 1)] == list(by_name(counts).items())
