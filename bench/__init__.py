"""Benchmarks: one program per module, started by scripts/bench, which lets them import what they share with
the tests.

`bench/gpu` is apart: it runs where scripts/pack-gpu has put it, with nothing of this repository but the node.
"""
