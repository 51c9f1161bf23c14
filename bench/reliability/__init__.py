"""Faults that are injected into a running or starting node, and the page that tells what it did."""
