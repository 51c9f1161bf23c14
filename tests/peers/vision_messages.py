"""Importing this module makes `vision_msgs.msg` importable, which the ROS wheels lack."""

from pathlib import Path

from messages import install

PREFIX = install(Path(__file__).with_name("vision_msgs"))
