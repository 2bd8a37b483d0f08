"""Field numbers of ONNX's protobuf messages, for reading and writing.

They are defined in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

MODEL_IR, MODEL_PRODUCER, MODEL_PRODUCER_VERSION, MODEL_GRAPH, MODEL_OPSET = 1, 2, 3, 7, 8
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE = 1, 2, 5, 11, 12, 13
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 3, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_F, ATTRIBUTE_I, ATTRIBUTE_S, ATTRIBUTE_INTS, ATTRIBUTE_TYPE = 1, 2, 3, 4, 8, 20
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)  # one, or a list
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
TENSOR_LISTS = (4, 5, 6, 7, 10, 11)  # data as a list of numbers or strings, by type
ENTRY_KEY, ENTRY_VALUE = 1, 2
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR = 1  # sequences and maps have other numbers
TENSOR_TYPE_ELEMENT, TENSOR_TYPE_SHAPE = 1, 2
SHAPE_DIMENSION = 1
DIMENSION_SIZE, DIMENSION_NAME = 1, 2

FLOAT, INT, STRING, INTS = 1, 2, 3, 7
"""Kinds of attributes."""
EXTERNAL = 1
"""Location of a tensor whose data are in another file."""
