"""The lines of numpy that docs/features.md shows are the ones that the tests use, and the message types are
stable."""

import inspect
import json
from pathlib import Path

import decode
import messages
import numpy as np
import pytest
from pixio_node.msg import PatchFeatures

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


@pytest.mark.parametrize("function", [decode.features_from_message, decode.pixel_from_patch])
def test_the_page_shows_the_function_that_is_tested(function):
    assert inspect.getsource(function).strip() in PAGE.read_text()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_decode_returns_rows_columns_channels(dtype):
    tokens = np.arange(2 * 3 * 4, dtype=dtype).reshape(2, 3, 4)
    message = PatchFeatures(
        grid_height=2,
        grid_width=3,
        channels=4,
        dtype=dtype,
        data=tokens.tobytes(),
        image_from_grid=[40.0, 0.0, 19.5, 0.0, 30.0, 14.5],
    )
    assert np.array_equal(decode.features_from_message(message), tokens)
    assert list(decode.pixel_from_patch(message, row=1, column=2)) == [99.5, 44.5]


# The hash changes when a field, its type or its place does; then recorded data is no longer readable.
HASHES = {
    "Embedding": "RIHS01_8a539bafccd06d1caecf49f79630ce833b099b1063aec1d5cce5b696fdbe2c0d",
    "PatchFeatures": "RIHS01_2fcd432c370cadde17ed91dbcc840a9dfe9c83d833b13b67d73780ddac783f96",
}


@pytest.mark.parametrize("name", HASHES)
def test_a_message_type_keeps_its_hash(name):
    described = json.loads((messages.PREFIX / "share" / "pixio_node" / "msg" / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}
    assert hashes[f"pixio_node/msg/{name}"] == HASHES[name]
