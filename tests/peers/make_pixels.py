"""Writes what other programs make of images, for tests/it/pixels.rs.

    make_pixels.py OUT.safetensors

Tensors, all uint8:
    photo/NAME/rgb      [h, w, 3]      a photograph
    photo/NAME/hf       [256, 256, 3]  by the Hugging Face processor of Pixio (torchvision)
    photo/NAME/pil      [256, 256, 3]  by Pillow
    photo/NAME/crop     [256, 256, 3]  by Pillow, the middle square
    photo/NAME/KIND     [n]            a JPEG file of it, KIND as in JPEGS below
    photo/NAME/KIND_rgb [h, w, 3]      that file by libjpeg-turbo
    code/NAME/raw       [n]            an image in the encoding NAME, rows without padding
    code/NAME/rgb       [48, 64, 3]    its colours, by arithmetic in float64
"""

import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from safetensors.numpy import save_file
from transformers import AutoImageProcessor

PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": 256, "width": 256},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

JPEGS = {
    "jpeg": {},
    "progressive": {"progressive": True},
    "webcam": {"subsampling": "4:2:2", "restart_marker_blocks": 4},
    "fine": {"subsampling": "4:4:4", "optimize": True},
}


def photographs():
    # Public domain (astronaut, rocket) and CC0 (coffee, chelsea), as scikit-image ships them.
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        yield name, getattr(skimage.data, name)()
    yield "coffee_upright", skimage.data.coffee().transpose(1, 0, 2)
    coffee = Image.fromarray(skimage.data.coffee())
    yield "coffee_720p", np.asarray(coffee.resize((1280, 720), Image.Resampling.LANCZOS))
    yield "coffee_small", np.asarray(coffee.resize((96, 64), Image.Resampling.LANCZOS))


def hugging_face():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        processor = AutoImageProcessor.from_pretrained(folder)

    def resized(rgb):
        pixels = processor(
            Image.fromarray(rgb), do_rescale=False, do_normalize=False, return_tensors="pt"
        ).pixel_values
        return pixels[0].permute(1, 2, 0).numpy().astype(np.uint8)

    return resized


def pillow(image, box):
    """Columns before rows, as torchvision and older Pillows do. Pillow 13 begins with the rows of an
    image that stands upright, and then differs from both by up to six levels on hard edges."""
    left, top, right, bottom = box
    strip = image.resize((256, image.height), Image.Resampling.BICUBIC, box=(left, 0, right, image.height))
    return np.asarray(strip.resize((256, 256), Image.Resampling.BICUBIC, box=(0, top, 256, bottom)))


def jpeg(rgb, **options):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "jpeg", quality=90, **options)
    return np.frombuffer(file.getvalue(), np.uint8), np.asarray(Image.open(file))


def of_photographs():
    resized = hugging_face()
    for name, rgb in photographs():
        image = Image.fromarray(rgb)
        (w, h), side = image.size, min(image.size)
        left, top = (w - side) // 2, (h - side) // 2
        yield f"photo/{name}/rgb", rgb
        yield f"photo/{name}/hf", resized(rgb)
        yield f"photo/{name}/pil", pillow(image, (0, 0, w, h))
        yield f"photo/{name}/crop", pillow(image, (left, top, left + side, top + side))
        for kind, options in JPEGS.items():
            file, decoded = jpeg(rgb, **options)
            yield f"photo/{name}/{kind}", file
            yield f"photo/{name}/{kind}_rgb", decoded


def rgb_from_yuv(y, u, v):
    """BT.601 with Y from 16 to 235: what OpenCV takes 4:2:2 and 4:2:0 to be."""
    y, u, v = (255 / 219) * (y - 16.0), (255 / 112) * (u - 128.0), (255 / 112) * (v - 128.0)
    kr, kb = 0.299, 0.114
    kg = 1 - kr - kb
    r, b = y + (1 - kr) * v, y + (1 - kb) * u
    g = y - kb * (1 - kb) / kg * u - kr * (1 - kr) / kg * v
    return byte(np.stack([r, g, b], -1))


def byte(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def of_encodings():
    random = np.random.default_rng(7)
    h, w = 48, 64
    rgb = random.integers(0, 256, (h, w, 3), dtype=np.uint8)
    alpha = random.integers(0, 256, (h, w, 1), dtype=np.uint8)
    grey = rgb[..., :1]
    wide = random.integers(0, 65536, (h, w, 3), dtype=np.uint16)
    narrow = byte(wide * (255 / 65535))
    y = random.integers(16, 236, (h, w)).astype(np.uint8)

    def chroma(rows, columns):
        return random.integers(96, 160, (2, rows, columns)).astype(np.uint8)

    def grown(plane, rows, columns):
        return plane.repeat(rows, 0).repeat(columns, 1)

    for names, raw, expect in (
        ("rgb8", rgb, rgb),
        ("bgr8 8UC3", rgb[..., ::-1], rgb),
        ("rgba8", np.concatenate([rgb, alpha], -1), rgb),
        ("bgra8", np.concatenate([rgb[..., ::-1], alpha], -1), rgb),
        ("mono8 8UC1", grey, grey.repeat(3, -1)),
        ("mono16 16UC1", wide[..., :1].astype("<u2"), narrow[..., :1].repeat(3, -1)),
        ("rgb16", wide.astype("<u2"), narrow),
        ("bgr16", wide[..., ::-1].astype("<u2"), narrow),
    ):
        for name in names.split():
            yield name, raw, expect

    u, v = chroma(h, w // 2)
    colours = rgb_from_yuv(y, grown(u, 1, 2), grown(v, 1, 2))
    uyvy = np.stack([u, y[:, 0::2], v, y[:, 1::2]], -1)
    yuyv = np.stack([y[:, 0::2], u, y[:, 1::2], v], -1)
    for names, raw in (("uyvy yuv422", uyvy), ("yuyv yuv422_yuy2", yuyv)):
        for name in names.split():
            yield name, raw, colours
    u, v = chroma(h // 2, w // 2)
    nv21 = np.concatenate([y.ravel(), np.stack([v, u], -1).ravel()])
    yield "nv21", nv21, rgb_from_yuv(y, grown(u, 2, 2), grown(v, 2, 2))
    u, v = chroma(h, w)
    yield "nv24", np.concatenate([y.ravel(), np.stack([u, v], -1).ravel()]), rgb_from_yuv(y, u, v)

    # On a plane of brightness, neighbours average to the pixel itself: any bilinear demosaicing finds
    # the same colours away from the border.
    slope = np.arange(w)[None, :] + 2.0 * np.arange(h)[:, None]
    colours = byte(np.stack([slope + 60, slope + 20, slope], -1))
    for letters in ("rggb", "bggr", "gbrg", "grbg"):
        mosaic = np.empty((h, w), np.uint8)
        for i, letter in enumerate(letters):
            at = np.s_[i // 2 :: 2, i % 2 :: 2]
            mosaic[at] = colours[..., "rgb".index(letter)][at]
        yield f"bayer_{letters}8", mosaic, colours


def main():
    tensors = dict(of_photographs())
    for name, raw, rgb in of_encodings():
        tensors[f"code/{name}/raw"] = np.frombuffer(np.ascontiguousarray(raw).tobytes(), np.uint8)
        tensors[f"code/{name}/rgb"] = rgb
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
