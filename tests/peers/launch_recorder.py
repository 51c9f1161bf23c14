"""Stands in for launch and launch_ros, of which no wheel exists: remembers what a launch file declares and
starts.

It holds a file's own logic. What ROS makes of the actions is not in it.
"""

import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType, SimpleNamespace

from node_process import ROOT

LAUNCH = ROOT / "launch"


class Action(SimpleNamespace):
    """Its keyword arguments are its attributes."""


class LogInfo(Action):
    pass


class Node(Action):
    pass


class OpaqueFunction(Action):
    pass


class DeclareLaunchArgument(Action):
    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)


@dataclass
class ParameterValue:
    value: object
    value_type: type


@dataclass
class LaunchConfiguration:
    name: str

    def perform(self, context):
        return context[self.name]


@dataclass
class LaunchDescription:
    actions: list


def load(path: str) -> ModuleType:
    """A launch file as a module."""
    loader = SourceFileLoader(Path(path).name.replace(".", "_"), path)
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


MODULES = {
    "launch": {"LaunchDescription": LaunchDescription},
    "launch.actions": {
        "DeclareLaunchArgument": DeclareLaunchArgument,
        "LogInfo": LogInfo,
        "OpaqueFunction": OpaqueFunction,
    },
    "launch.launch_description_sources": {"load_python_launch_file_as_module": load},
    "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
    "launch_ros": {},
    "launch_ros.actions": {"Node": Node},
    "launch_ros.parameter_descriptions": {"ParameterValue": ParameterValue},
}


def recorded(monkeypatch, file: str) -> "Recorded":
    """Loads launch/FILE with the stand-ins in place of ROS's modules."""
    for name, members in MODULES.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return Recorded(load(str(LAUNCH / file)))


class Recorded:
    """A launch file: its arguments, and what it starts."""

    def __init__(self, module: ModuleType):
        self.module = module
        *declared, self._start = module.generate_launch_description().actions
        self.arguments = {argument.name: argument for argument in declared}

    def table(self) -> dict[str, tuple]:
        """Default, description and choices of each argument."""
        return {
            name: (argument.default_value, argument.description, argument.choices)
            for name, argument in self.arguments.items()
        }

    def start(self, **given: str) -> list[Action]:
        """What is started when these arguments are given."""
        assert given.keys() <= self.arguments.keys()
        defaults = {name: argument.default_value for name, argument in self.arguments.items()}
        return self._start.function(defaults | given)

    def node(self, **given: str) -> Node:
        """The one pixio_node among them."""
        nodes = [action for action in self.start(**given) if getattr(action, "package", None) == "pixio_node"]
        assert len(nodes) == 1
        return nodes[0]


def plain(parameters: dict) -> dict:
    """Parameters with the values as they reach the node."""
    return {
        name: value.value if isinstance(value, ParameterValue) else value
        for name, value in parameters.items()
    }
