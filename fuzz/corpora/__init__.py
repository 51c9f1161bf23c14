"""Inputs of the fuzz targets, by target: a function for each returns files by name."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
