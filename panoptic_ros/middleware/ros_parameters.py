"""The parameters as those of a node over rclpy."""

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from panoptic_ros.middleware.parameters import PARAMETERS, Parameter


def declare(node: Any) -> str:
    """What is wrong with the values that the parameters were given; those have their defaults then."""
    wrong = []
    for parameter in PARAMETERS:
        try:
            node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            wrong.append(str(error))
            node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter), ignore_override=True)
    return "; ".join(wrong)


def read(node: Any) -> dict[str, Any]:
    """Their values."""
    return {parameter.name: node.get_parameter(parameter.name).value for parameter in PARAMETERS}


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=parameter.description)
    if parameter.low is not None and parameter.high is not None:
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(parameter.low), to_value=float(parameter.high))
            ]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))]
    return descriptor
