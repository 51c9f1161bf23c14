"""A data set: a folder of images with a depth or a label image for each.

rgb/NAME.png or .jpg      images
depth/NAME.png            16 bit, millimetres along the optical axis, 0 unknown
labels/NAME.png           8 bit, class number, 255 unlabelled
classes.yaml              `classes:` list of {name, color: [r, g, b]}; the first is class 0
camera.yaml               optional: width, height, fx, fy, cx, cy in pixels, pixel centres at whole numbers
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from .errors import Refused, listed
from .truth import UNLABELLED

FOLDERS = {"depth": "depth", "segmentation": "labels"}
ENDINGS = {".png", ".jpg", ".jpeg"}
MODES = {"depth": ("I;16", "I;16B", "I"), "segmentation": ("L", "P")}
# Metres. Medians outside are those of another unit.
PLAUSIBLE = (0.05, 200.0)
# Depth images whose unit is looked at.
N_LOOKED_AT = 100
THREADS = 4


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def focal_length(self, size: tuple[int, int] | None) -> float:
        """Of both axes, in pixels of the image stretched to `size` (width, height); None leaves it as it
        is."""
        width, height = size or (self.width, self.height)
        return (self.fx * width / self.width * self.fy * height / self.height) ** 0.5

    def is_nearly(self, other: "Camera") -> bool:
        """The same but for rounding."""
        return np.allclose(astuple(self), astuple(other), rtol=1e-3)


@dataclass(frozen=True)
class DatasetImage:
    """One image with its truth: depth or labels."""

    name: str
    rgb: Path
    truth: Path
    # Width and height.
    size: tuple[int, int]

    def pixels(self) -> Image.Image:
        with opened(self.rgb) as image:
            return loaded(image, self.rgb).convert("RGB")

    def depth(self) -> np.ndarray:
        """float32 metres [height, width], 0 unknown."""
        with opened(self.truth) as image:
            return np.array(loaded(image, self.truth), np.float32) / 1000

    def labels(self) -> np.ndarray:
        """uint8 class numbers [height, width]."""
        with opened(self.truth) as image:
            return np.array(loaded(image, self.truth))


@dataclass(frozen=True)
class Dataset:
    """Images in the order of their names."""

    folder: Path
    task: str
    images: list[DatasetImage]
    classes: list[dict]
    camera: Camera | None

    @staticmethod
    def open(folder: Path, task: str, limit: int | None = None) -> "Dataset":
        """`limit` takes that many images, spread over the whole. Everything is checked here, once."""
        if not folder.is_dir():
            raise Refused(f"{folder} is no folder")
        pairs = paired(folder, FOLDERS[task])
        if limit is not None and limit < len(pairs):
            pairs = [pairs[i * len(pairs) // limit] for i in range(limit)]
        classes = read_classes(folder / "classes.yaml") if task == "segmentation" else []
        camera = read_camera(folder / "camera.yaml")
        with ThreadPoolExecutor(THREADS) as threads:
            images = list(threads.map(lambda pair: checked_image(*pair, task, camera), pairs))
        dataset = Dataset(folder, task, images, classes, camera)
        dataset.check_units() if task == "depth" else dataset.check_labels()
        return dataset

    def check_units(self) -> None:
        """Refuses depth of which nothing is plausible in metres."""
        some = self.images[:: max(1, len(self.images) // N_LOOKED_AT)]
        with ThreadPoolExecutor(THREADS) as threads:
            medians = list(threads.map(median_depth, some))
        known = [(image, median) for image, median in zip(some, medians) if median is not None]
        if not known:
            raise Refused(f"{self.folder}: no depth image has a known pixel")
        low, high = PLAUSIBLE
        if any(low <= median <= high for _, median in known):
            return
        image, median = known[0]
        unit = "metres" if median < low else "micrometres"
        raise Refused(
            f"{image.truth}: the median depth is {median:g} m (value {median * 1000:.0f}), and no other "
            f"image is within {low:g} to {high:g} m: depth must be in millimetres, {unit} were probably "
            "written"
        )

    def check_labels(self) -> None:
        """Refuses label images with a number that is no class."""
        n = len(self.classes)
        with ThreadPoolExecutor(THREADS) as threads:
            strange = threads.map(lambda image: strange_label(image, n), self.images)
            bar = tqdm(
                strange,
                "looking at the labels",
                len(self.images),
                unit="image",
                leave=False,
                disable=None,
            )
            for image, value in zip(self.images, bar):
                if value is not None:
                    raise Refused(
                        f"{image.truth}: a pixel has the value {value}, which is neither one of the {n} "
                        f"classes (0 to {n - 1}) nor {UNLABELLED}, unlabelled"
                    )


def paired(folder: Path, truth: str) -> list[tuple[str, Path, Path]]:
    """Names with their image and truth; every one has both."""
    rgb, truths = files(folder / "rgb", ENDINGS), files(folder / truth, {".png"})
    if not rgb:
        raise Refused(f"{folder / 'rgb'} has no images (.png or .jpg)")
    if not truths:
        raise Refused(f"{folder / truth} has no images (.png)")
    alone = [rgb[name].name for name in sorted(rgb.keys() - truths.keys())]
    if alone:
        raise Refused(
            f"{folder}: {len(alone)} of {len(rgb)} images have none of their name in {truth}/: "
            f"{listed(alone)}"
        )
    alone = [truths[name].name for name in sorted(truths.keys() - rgb.keys())]
    if alone:
        raise Refused(
            f"{folder}: {len(alone)} of {len(truths)} in {truth}/ have no image in rgb/: {listed(alone)}"
        )
    return [(name, rgb[name], truths[name]) for name in sorted(rgb)]


def files(folder: Path, endings: set[str]) -> dict[str, Path]:
    """Image files by their name without the ending."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() not in endings:
            continue
        if path.stem in found:
            raise Refused(
                f"{folder} has {found[path.stem].name} and {path.name}: names must differ before the ending"
            )
        found[path.stem] = path
    return found


def checked_image(name: str, rgb: Path, truth: Path, task: str, camera: Camera | None) -> DatasetImage:
    with opened(rgb) as image:
        size = image.size
    with opened(truth) as image:
        truth_size, mode = image.size, image.mode
    if size != truth_size:
        raise Refused(
            f"{rgb} is {size[0]}x{size[1]}, {truth} is {truth_size[0]}x{truth_size[1]}: both must be of one "
            "size"
        )
    if mode not in MODES[task]:
        needed = "16 bit, millimetres" if task == "depth" else "8 bit, one class number per pixel"
        raise Refused(f"{truth} is an image of mode {mode}: {FOLDERS[task]} must be {needed}")
    if camera and size != (camera.width, camera.height):
        raise Refused(f"{rgb} is {size[0]}x{size[1]}, camera.yaml is for {camera.width}x{camera.height}")
    return DatasetImage(name, rgb, truth, size)


def opened(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as err:
        raise Refused(f"{file} is no image: {err}") from None


def loaded(image: Image.Image, file: Path) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as err:
        raise Refused(f"{file} is not a whole image: {err}") from None
    return image


def median_depth(image: DatasetImage) -> float | None:
    """Metres, over the known pixels."""
    depth = image.depth()
    known = depth[depth > 0]
    return float(np.median(known)) if known.size else None


def strange_label(image: DatasetImage, n_classes: int) -> int | None:
    labels = image.labels()
    strange = labels[(labels >= n_classes) & (labels != UNLABELLED)]
    return int(strange[0]) if strange.size else None


def read_yaml(file: Path) -> dict:
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise Refused(f"{file} is missing") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise Refused(f"{file}: {' '.join(str(err).split())}") from None
    if not isinstance(content, dict):
        raise Refused(f"{file} is not a list of keys with values")
    return content


def read_classes(file: Path) -> list[dict]:
    """Name and color of every class, in the order of their numbers."""
    listed_classes = read_yaml(file).get("classes")
    if not isinstance(listed_classes, list) or not 1 <= len(listed_classes) <= UNLABELLED:
        raise Refused(f"{file}: `classes` must be a list of 1 to {UNLABELLED} classes")
    for number, one in enumerate(listed_classes):
        color = one.get("color") if isinstance(one, dict) else None
        is_color = (
            isinstance(color, list)
            and len(color) == 3
            and all(type(c) is int and 0 <= c <= 255 for c in color)
        )
        if not is_color or not isinstance(one.get("name"), str):
            raise Refused(
                f"{file}: class {number} is {one}: it needs a name and a color (three numbers from 0 to 255)"
            )
    return [{"name": one["name"], "color": one["color"]} for one in listed_classes]


def read_camera(file: Path) -> Camera | None:
    if not file.exists():
        return None
    content = read_yaml(file)
    try:
        numbers = {key: float(content[key]) for key in ("width", "height", "fx", "fy", "cx", "cy")}
    except KeyError as err:
        raise Refused(f"{file}: {err.args[0]} is missing") from None
    except (TypeError, ValueError):
        raise Refused(f"{file}: width, height, fx, fy, cx and cy must be numbers") from None
    if min(numbers[key] for key in ("width", "height", "fx", "fy")) <= 0:
        raise Refused(f"{file}: width, height, fx and fy must be positive")
    return Camera(**numbers | {"width": int(numbers["width"]), "height": int(numbers["height"])})
