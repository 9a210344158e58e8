import importlib

import pyximport

pyximport.install(build_dir="/tmp/pyx", language_level=3)
print(importlib.import_module("fast").total(10))
