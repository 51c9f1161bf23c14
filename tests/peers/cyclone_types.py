"""ROS messages as Cyclone DDS has them: the types that its own ROS nodes announce, with their names.

Services are as rmw_cyclonedds maps them: a request and its response begin with the client and a sequence
number.
"""

from dataclasses import dataclass, field

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import (
    array,
    float32,
    float64,
    int32,
    int64,
    sequence,
    uint8,
    uint16,
    uint32,
    uint64,
)


def dds_type(package: str, name: str, kind: str = "msg") -> str:
    """The name of a ROS type in DDS."""
    return f"{package}::{kind}::dds_::{name}_"


@dataclass
class Time(IdlStruct, typename=dds_type("builtin_interfaces", "Time")):
    sec: int32
    nanosec: uint32


@dataclass
class Header(IdlStruct, typename=dds_type("std_msgs", "Header")):
    stamp: Time
    frame_id: str


@dataclass
class Image(IdlStruct, typename=dds_type("sensor_msgs", "Image")):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@dataclass
class PatchFeatures(IdlStruct, typename=dds_type("pixio_node", "PatchFeatures")):
    header: Header
    model: str
    revision: str
    layer: uint32
    normalized: bool
    image_height: uint32
    image_width: uint32
    grid_height: uint32
    grid_width: uint32
    channels: uint32
    image_from_grid: array[float64, 6]
    dtype: str
    data: sequence[uint8]


@dataclass
class VisionClass(IdlStruct, typename=dds_type("vision_msgs", "VisionClass")):
    class_id: uint16
    class_name: str


@dataclass
class LabelInfo(IdlStruct, typename=dds_type("vision_msgs", "LabelInfo")):
    header: Header
    class_map: sequence[VisionClass]
    threshold: float32


@dataclass
class KeyValue(IdlStruct, typename=dds_type("diagnostic_msgs", "KeyValue")):
    key: str
    value: str


@dataclass
class DiagnosticStatus(IdlStruct, typename=dds_type("diagnostic_msgs", "DiagnosticStatus")):
    level: uint8
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]


@dataclass
class DiagnosticArray(IdlStruct, typename=dds_type("diagnostic_msgs", "DiagnosticArray")):
    header: Header
    status: sequence[DiagnosticStatus]


@dataclass
class ParameterValue(IdlStruct, typename=dds_type("rcl_interfaces", "ParameterValue")):
    type: uint8 = 0
    bool_value: bool = False
    integer_value: int64 = 0
    double_value: float64 = 0.0
    string_value: str = ""
    byte_array_value: sequence[uint8] = field(default_factory=list)
    bool_array_value: sequence[bool] = field(default_factory=list)
    integer_array_value: sequence[int64] = field(default_factory=list)
    double_array_value: sequence[float64] = field(default_factory=list)
    string_array_value: sequence[str] = field(default_factory=list)


@dataclass
class Parameter(IdlStruct, typename=dds_type("rcl_interfaces", "Parameter")):
    name: str
    value: ParameterValue


@dataclass
class SetParametersResult(IdlStruct, typename=dds_type("rcl_interfaces", "SetParametersResult")):
    successful: bool
    reason: str


@dataclass
class SetBoolRequest(IdlStruct, typename=dds_type("std_srvs", "SetBool_Request", "srv")):
    client: uint64
    number: int64
    data: bool


@dataclass
class SetBoolRequestWithoutHeader(IdlStruct, typename=dds_type("std_srvs", "SetBool_Request", "srv")):
    data: bool


@dataclass
class SetBoolRequestOfMore(IdlStruct, typename=dds_type("std_srvs", "SetBool_Request", "srv")):
    client: uint64
    number: int64
    data: bool
    more: uint64


@dataclass
class SetBoolResponse(IdlStruct, typename=dds_type("std_srvs", "SetBool_Response", "srv")):
    client: uint64
    number: int64
    success: bool
    message: str


# An empty message has one byte.
@dataclass
class TriggerRequest(IdlStruct, typename=dds_type("std_srvs", "Trigger_Request", "srv")):
    client: uint64
    number: int64
    nothing: uint8


@dataclass
class TriggerResponse(IdlStruct, typename=dds_type("std_srvs", "Trigger_Response", "srv")):
    client: uint64
    number: int64
    success: bool
    message: str


@dataclass
class GetParametersRequest(IdlStruct, typename=dds_type("rcl_interfaces", "GetParameters_Request", "srv")):
    client: uint64
    number: int64
    names: sequence[str]


@dataclass
class GetParametersResponse(IdlStruct, typename=dds_type("rcl_interfaces", "GetParameters_Response", "srv")):
    client: uint64
    number: int64
    values: sequence[ParameterValue]


@dataclass
class SetParametersRequest(IdlStruct, typename=dds_type("rcl_interfaces", "SetParameters_Request", "srv")):
    client: uint64
    number: int64
    parameters: sequence[Parameter]


@dataclass
class SetParametersResponse(IdlStruct, typename=dds_type("rcl_interfaces", "SetParameters_Response", "srv")):
    client: uint64
    number: int64
    results: sequence[SetParametersResult]
