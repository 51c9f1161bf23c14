"""Forms of command line options that the programs share."""

import argparse

import torch
from pixio_engine.model import PATCH


def size(text: str) -> tuple[int, int]:
    """Width and height in pixels from WIDTHxHEIGHT."""
    try:
        width, height = (int(side) for side in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT") from None
    if min(width, height) <= 0 or width % PATCH or height % PATCH:
        raise argparse.ArgumentTypeError(f"{text}: both sides must be multiples of {PATCH}")
    return width, height


def integers(text: str) -> list[int]:
    """Positive whole numbers from 1,2,3."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers") from None
    if min(numbers) <= 0:
        raise argparse.ArgumentTypeError(f"{text}: all must be positive")
    return numbers


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def count(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def device(text: str) -> torch.device:
    """`auto` is a GPU where torch sees one."""
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no device: auto, cpu or cuda") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch sees no GPU here")
    return found
