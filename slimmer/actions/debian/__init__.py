"""Removes whole Debian packages, with dpkg's database edited so that all agree they left."""
