#!/bin/sh
for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
    . "$script"
done
exec python main.py
