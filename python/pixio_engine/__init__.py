"""The encoder and the heads in Python, and their compilation to engines: what the pixio_node binary
carries."""
