"""What the numbers of a truth mean, for training and judging alike. Must not load torch."""

# Metres: no logarithm of less.
MIN_DEPTH = 1e-3
# The class number of a pixel without a label.
UNLABELLED = 255
