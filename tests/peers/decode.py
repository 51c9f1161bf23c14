"""PatchFeatures to numpy, as docs/features.md shows it."""

import numpy as np


def features_from_message(message):
    """[grid_height, grid_width, channels] array of a pixio_node/PatchFeatures message."""
    tokens = np.frombuffer(message.data, dtype=np.dtype(message.dtype).newbyteorder("<"))
    return tokens.reshape(message.grid_height, message.grid_width, message.channels)


def pixel_from_patch(message, row, column):
    """(x, y): the camera's pixel at the centre of a patch."""
    return message.image_from_grid.reshape(2, 3) @ (column, row, 1)
