"""Asks libraries for their versions; which ones is put together from names."""

import ctypes
import ctypes.util
import os
from pathlib import Path

FOUND = ("sodium", "usb-1.0", "portaudio")
BY_NUMBER = {"magic": 1, "enchant-2": 2}


def version(name, function, kind=ctypes.c_int):
    library = ctypes.CDLL(ctypes.util.find_library(name))
    call = getattr(library, function)
    call.restype = kind
    return call()


print("sodium", version(FOUND[0], "sodium_version_string", ctypes.c_char_p).decode())
print("usb", version(FOUND[1], "libusb_has_capability"))
print("portaudio", version(FOUND[2], "Pa_GetVersion"))
for stem, number in BY_NUMBER.items():
    print(stem, bool(ctypes.CDLL("lib" + stem + ".so." + str(number))))
for told in os.environ["APP_LIBRARIES"].split(","):
    stem, number = told.split(":")
    print(stem, ctypes.CDLL(f"lib{stem}.so.{number}").ZSTD_versionNumber() > 10000)
print("preloaded", "jemalloc" in Path("/proc/self/maps").read_text())
