import importlib
import sys

from cffi import FFI

builder = FFI()
builder.cdef("unsigned long crc32(unsigned long crc, const unsigned char *buf, unsigned int len);")
builder.set_source("_crc", "#include <zlib.h>", libraries=["z"])
builder.compile(tmpdir="/tmp", verbose=False)
sys.path.insert(0, "/tmp")
print(importlib.import_module("_crc").lib.crc32(0, b"hello", 5))
