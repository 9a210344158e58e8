import csv
import json
import os
from pathlib import Path

import pyproj
import shapely
import yaml
from nltk.stem import PorterStemmer

with open(os.environ["APP_DATA"]) as file:
    points = [tuple(map(float, row)) for row in csv.reader(file)]
utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
print([tuple(round(x) for x in utm.transform(*point)) for point in points])
print(round(shapely.LineString(points).length, 3), PorterStemmer().stem("running"))
for note in sorted(Path(os.environ["CONDA_PREFIX"], "conda-meta").glob("*.json")):
    told = json.loads(note.read_text())
    lost = [one for one in told["files"] if not Path("/opt/conda", one).exists()]
    lost = [one for one in lost if "/test" not in one and not one.endswith((".a", ".exe"))]
    print(told["name"], lost)
print(yaml.safe_load("a: [1, 2]"))
