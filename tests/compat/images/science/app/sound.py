import configparser
import importlib
from pathlib import Path

from scipy.io import loadmat, wavfile

plan = configparser.ConfigParser()
plan.read("plan.ini")
name, _, path = plan["fixtures"]["sound"].partition(":")
rate, data = wavfile.read(Path(importlib.import_module(name).__file__).parent / path)
print(rate, data.shape)
folder = Path(importlib.import_module(plan["fixtures"]["module"]).__file__).parent
print(sorted(loadmat(folder / "data" / "testdouble_7.4_GLNX86.mat"))[-1])
