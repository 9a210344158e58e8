#!/bin/sh
# What an extension would be linked with.
exec pkg-config --libs zlib
