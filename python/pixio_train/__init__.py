"""Trains, imports and judges heads, makes data sets, and renders rooms."""

import os

# Before torch is loaded. Its threads would wait for each other at full speed, which beside other work makes
# training several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
