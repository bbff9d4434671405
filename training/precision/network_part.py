"""Which nodes of an exported graph are its network, that is what may be rounded; its decoder never is."""

import onnx

from panoptic_ros.core import PanopticError


def cut_names(graph: onnx.GraphProto, wanted: str) -> list[str]:
    """The tensors between network and decoder (`Manifest.network_output`). Raises PanopticError if there are none."""
    names = [name for node in graph.node for name in node.output if name.partition("/")[0] == wanted]
    if not names:
        raise PanopticError(f"the graph has no tensor {wanted!r}, its manifest's network_output")
    return names


def network_part(graph: onnx.GraphProto, wanted: str) -> list[onnx.NodeProto]:
    """The nodes from the first convolutions to the cut, in the graph's order: what the image goes through, no arithmetic of
    shapes and coordinates, and not the normalisation of the image, whose inputs reach 255."""
    maker = {name: node for node in graph.node for name in node.output}
    before: set[str] = set()
    waiting = cut_names(graph, wanted)
    while waiting:
        name = waiting.pop()
        if name in maker and name not in before:
            before |= set(maker[name].output)
            waiting += maker[name].input
    part, after = [], set()
    for node in graph.node:  # in topological order
        if before.isdisjoint(node.output):
            continue
        if node.op_type == "Conv" or (node.op_type != "Shape" and not after.isdisjoint(node.input)):
            part.append(node)
            after |= set(node.output)
    return part
