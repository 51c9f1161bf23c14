"""The project's own patches to published crates: their format, how they apply and how they are recorded."""
