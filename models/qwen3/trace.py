"""Finds the decoder's weights in a published decoder_step graph by following its data flow.

Exporters and optimisers rename and fold weights (`val_133`), so their names are no help. The data flow is:
whatever is normalised and multiplied into `present_keys` is the key projection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asr_batch.models.onnx.writer import GraphParts, Node

LINEAR = frozenset({"MatMul", "MatMulNBits"})
NORM = frozenset({"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "RMSNormalization"})


class NotTracedError(ValueError):
    """The graph has an unknown structure (it still runs as published)."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The nodes with the weights of one layer."""

    before: Node
    q: Node
    k: Node
    v: Node
    q_norm: Node
    k_norm: Node
    o: Node
    after: Node
    gate: Node
    up: Node
    down: Node


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """All layers, the final norm, and the projection onto the vocabulary."""

    layers: tuple[LayerWeights, ...]
    norm: Node
    head: Node


def trace(graph: GraphParts) -> DecoderWeights:
    """Follow `input_embeds` to `logits`. Raises NotTracedError."""
    return _Tracer(graph).decoder()


class _Tracer:
    def __init__(self, graph: GraphParts) -> None:
        self._tensors = graph.tensors
        self._users: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in set(node.inputs):
                self._users.setdefault(name, []).append(node)

    def decoder(self) -> DecoderWeights:
        layers: list[LayerWeights] = []
        norm = self._next_norm("input_embeds")
        while True:
            linears = self._linears(norm)
            if len(linears) == 1 and "logits" in linears[0].outputs:
                return DecoderWeights(tuple(layers), norm, linears[0])
            layer, norm = self._layer(norm, linears)
            layers.append(layer)

    def _layer(self, before: Node, linears: list[Node]) -> tuple[LayerWeights, Node]:
        if len(linears) != 3:
            raise NotTracedError(f"{len(linears)} projections after a norm, expected q, k and v")
        by_end: dict[str, Node] = {}
        for linear in linears:
            ends = self._ends(linear)
            by_end["k" if "present_keys" in ends else "v" if "present_values" in ends else "q"] = linear
        if len(by_end) != 3:
            raise NotTracedError("cannot tell q, k and v apart")
        q, k, v = (by_end[name] for name in "qkv")
        o = self._one(node for node in self._reach(v) if node.op in LINEAR and self._weighted(node))
        after = self._next_norm(o.outputs[0])
        gate, up = self._gate(after)
        down = self._one(node for node in self._reach(gate) if node.op in LINEAR)
        parts = {"q_norm": self._norm_of(q), "k_norm": self._norm_of(k)}
        layer = LayerWeights(before, q, k, v, o=o, after=after, gate=gate, up=up, down=down, **parts)
        return layer, self._next_norm(down.outputs[0])

    def _gate(self, norm: Node) -> tuple[Node, Node]:
        linears = self._linears(norm)
        gates = [
            one for one in linears if any(user.op in ("Sigmoid", "QuickGelu") for user in self._after(one))
        ]
        if len(linears) != 2 or len(gates) != 1:
            raise NotTracedError(f"{len(linears)} projections in an MLP, {len(gates)} with a sigmoid")
        return gates[0], next(one for one in linears if one is not gates[0])

    def _norm_of(self, linear: Node) -> Node:
        """The norm over head_dim that follows q or k, after a reshape."""
        return self._one(node for node in self._reach(linear, depth=3) if node.op in NORM)

    def _next_norm(self, name: str) -> Node:
        """The norm that `name` feeds, directly or through the residual addition."""
        for user in self._users.get(name, []):
            if user.op in NORM:
                return user
        adds = [user.outputs[0] for user in self._users.get(name, []) if user.op == "Add"]
        return self._one(user for add in adds for user in self._users.get(add, []) if user.op in NORM)

    def _linears(self, norm: Node) -> list[Node]:
        users = self._users.get(norm.outputs[0], [])
        return [user for user in users if user.op in LINEAR and self._weighted(user)]

    def _weighted(self, node: Node) -> bool:
        return len(node.inputs) > 1 and node.inputs[1] in self._tensors

    def _after(self, node: Node) -> list[Node]:
        return [user for name in node.outputs for user in self._users.get(name, [])]

    def _reach(self, start: Node, depth: int = 64) -> Iterator[Node]:
        """Nodes after `start` in breadth-first order, not beyond a weighted projection."""
        seen: set[tuple[str, ...]] = set()
        front = self._after(start)
        while front and depth:
            following: list[Node] = []
            for node in front:
                if node.outputs in seen:
                    continue
                seen.add(node.outputs)
                yield node
                if not (node.op in LINEAR and self._weighted(node)):
                    following += self._after(node)
            front, depth = following, depth - 1

    def _ends(self, start: Node) -> set[str]:
        return {name for node in self._reach(start) for name in node.outputs}

    @staticmethod
    def _one(nodes: Iterator[Node]) -> Node:
        node = next(nodes, None)
        if node is None:
            raise NotTracedError("a projection or norm is not where a Qwen3 decoder has it")
        return node
