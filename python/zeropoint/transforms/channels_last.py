"""Moves and cancels transposes, so that only those remain that the graph's inputs and outputs need.

Importers surround every layout-bound operator with transposes. Between two of them lie *regions* of
operators that compute the same in any order of axes. A region is turned around as a whole when that
leaves less to transpose at its border: the transposes there merge with the new order, mostly to
nothing, and new ones appear where the region meets something that is bound to the old order. Each
step lowers the number of transposed elements, so the search ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from zeropoint.graph import Graph, Node, Value
from zeropoint.transforms.layout import (
    inverse,
    is_identity,
    moves_nothing,
    permuted,
    reshape_spec,
    twin_name,
)
from zeropoint.transforms.layout_rules import Order, allowed_orders, permute_node


def apply(graph: Graph) -> None:
    """Turns regions around until no more transposes can be saved. Shapes must be inferred."""
    changed = True
    while changed:
        changed = False
        for value, order in _seeds(graph):
            region = _grow(graph, value, order)
            if region is not None and region.after < region.before:
                _turn(graph, region)
                graph.sort()
                graph.remove_dead()
                changed = True
                break
        changed = changed or _push_down(graph)


def _push_down(graph: Graph) -> bool:
    """Moves one transpose behind the only operator that reads it, where that costs nothing: an
    activation comes next to the layer that it can be fused into."""
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        if node.op != "transpose" or node.inputs[0] not in producers or is_identity(_perm(node)):
            continue
        name = node.outputs[0]
        readers = consumers.get(name, [])
        if len(readers) != 1 or name in graph.outputs or readers[0].op == "transpose":
            continue
        orders = allowed_orders(graph, readers[0], name, inverse(_perm(node)))
        if orders is None or any(n in producers and n != name for n in readers[0].inputs):
            continue
        if len([n for n in orders if n in readers[0].inputs]) != 1:
            continue
        region = _Region(orders, [readers[0]])
        _price(graph, region, producers, consumers)
        if region.after <= region.before:
            _turn(graph, region)
            graph.sort()
            graph.remove_dead()
            return True
    return False


def transposes_to_reshapes(graph: Graph) -> None:
    """Makes a reshape of each transpose that only moves dimensions of size 1."""
    for node in graph.nodes:
        shape = graph.values[node.inputs[0]].shape if node.op == "transpose" else None
        if shape is None:
            continue
        perm = _perm(node)
        spec = reshape_spec(shape, permuted(shape, perm))
        if moves_nothing(shape, perm) and spec is not None:
            node.op, node.attrs = "reshape", {"shape": spec}


def _perm(node: Node) -> Order:
    return tuple(cast("list[int]", node.attrs["perm"]))


#: (transposed elements, transposes)
Cost = tuple[int, int]


@dataclass
class _Region:
    orders: dict[str, Order]
    inside: list[Node]
    #: Transposes whose input or output belongs to the region, with their new permutations.
    border: list[tuple[Node, Order]] = field(default_factory=list)
    #: Values that enter the region from something else, and those that something else reads.
    enter: list[str] = field(default_factory=list)
    leave: list[str] = field(default_factory=list)
    before: Cost = (0, 0)
    after: Cost = (0, 0)


def _seeds(graph: Graph) -> list[tuple[str, Order]]:
    """Values and orders under which one transpose vanishes."""
    seeds = []
    for node in graph.nodes:
        if node.op == "transpose":
            perm = _perm(node)
            seeds.append((node.outputs[0], inverse(perm)))
            if not graph.values[node.inputs[0]].is_constant:
                seeds.append((node.inputs[0], perm))
    return [(value, order) for value, order in seeds if not is_identity(order)]


def _grow(graph: Graph, value: str, order: Order) -> _Region | None:
    producers, consumers = graph.producers(), graph.consumers()
    orders = {value: order}
    inside: dict[int, Node] = {}
    waiting = [value]
    while waiting:
        name = waiting.pop()
        if is_identity(orders[name]):
            continue
        nodes = list(consumers.get(name, ()))
        if name in producers:
            nodes.append(producers[name])
        for node in nodes:
            if id(node) in inside or node.op == "transpose":
                continue
            wanted = allowed_orders(graph, node, name, orders[name])
            if wanted is None or any(orders.get(n, o) != o for n, o in wanted.items()):
                continue
            inside[id(node)] = node
            waiting.extend(n for n in wanted if n not in orders)
            orders.update(wanted)
    if any(graph.values[name].shape is None for name in orders):
        return None
    region = _Region(orders, list(inside.values()))
    _price(graph, region, producers, consumers)
    return region


def _price(
    graph: Graph,
    region: _Region,
    producers: dict[str, Node],
    consumers: dict[str, list[Node]],
) -> None:
    orders = region.orders
    inside = {id(node) for node in region.inside}
    border: dict[int, Node] = {}
    for name, order in orders.items():
        if is_identity(order):
            continue
        producer = producers.get(name)
        if producer is not None and producer.op == "transpose":
            border[id(producer)] = producer
        elif producer is None or id(producer) not in inside:
            region.enter.append(name)
        # What enters is there in its old order as well.
        entered = name in region.enter[-1:]
        outside = name in graph.outputs
        for node in consumers.get(name, ()):
            if node.op == "transpose":
                border[id(node)] = node
            elif id(node) not in inside:
                outside = True
        if outside and not entered:
            region.leave.append(name)

    def cost(name: str, perm: Order) -> Cost:
        shape = graph.values[name].shape
        if shape is None or moves_nothing(shape, perm):
            return (0, 0)
        return (_elements(shape), 1)

    def total(costs: list[Cost]) -> Cost:
        return (sum(c[0] for c in costs), sum(c[1] for c in costs))

    new: list[Cost] = []
    for node in border.values():
        source, target = node.inputs[0], node.outputs[0]
        perm = _merged(_perm(node), orders.get(source), orders.get(target))
        region.border.append((node, perm))
        shape = graph.values[source].shape
        assert shape is not None
        held = permuted(shape, orders.get(source, tuple(range(len(shape)))))
        if not moves_nothing(held, perm):
            new.append((_elements(held), 1))
    new += [cost(name, orders[name]) for name in region.enter + region.leave]
    region.before = total([cost(node.inputs[0], _perm(node)) for node in border.values()])
    region.after = total(new)


def _elements(shape: tuple[int | None, ...]) -> int:
    total = 1
    for dim in shape:
        total *= 1 if dim is None else max(dim, 1)
    return total


def _merged(perm: Order, source: Order | None, target: Order | None) -> Order:
    """The permutation from the source as it is held now to the target as it is to be held."""
    target = target or tuple(range(len(perm)))
    wanted = [perm[axis] for axis in target]
    return tuple(wanted) if source is None else tuple(inverse(source)[axis] for axis in wanted)


def _turn(graph: Graph, region: _Region) -> None:
    """Rewrites the region to its orders."""
    twins: dict[str, str] = {}
    for name, order in region.orders.items():
        if is_identity(order):
            continue
        value = graph.values[name]
        assert value.shape is not None
        twin = graph.unique_name(twin_name(name, order))
        graph.add_value(Value(twin, value.dtype, permuted(value.shape, order), value.quant))
        twins[name] = twin
    for node in region.inside:
        permute_node(graph, node, region.orders)
        node.inputs = [twins.get(name, name) for name in node.inputs]
        node.outputs = [twins.get(name, name) for name in node.outputs]
    for node, perm in region.border:
        node.attrs["perm"] = list(perm)
        node.inputs = [twins.get(node.inputs[0], node.inputs[0])]
        node.outputs = [twins.get(node.outputs[0], node.outputs[0])]
    for name in region.leave:
        _add(graph, twins[name], name, inverse(region.orders[name]))
    for name in region.enter:
        _add(graph, name, twins[name], region.orders[name])


def _add(graph: Graph, source: str, target: str, perm: Order) -> None:
    name = graph.unique_name(f"{target}/transpose")
    graph.nodes.append(Node(name, "transpose", [source], [target], {"perm": list(perm)}))
