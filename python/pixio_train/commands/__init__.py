"""The programs: one module each, with `main` as its entry point (python/pyproject.toml)."""
