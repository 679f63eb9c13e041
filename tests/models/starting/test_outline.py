"""Which layers of two networks fit each other."""

from __future__ import annotations

from flexseg.models.starting.outline import LayerOutline, WeightOutline, partners


def layer(kind: str, *shape: int) -> LayerOutline:
    return LayerOutline("x", kind, (WeightOutline("kernel", shape),))


def test_equal_networks_pair_layer_by_layer() -> None:
    network = (layer("Conv2D", 3, 3, 1, 4), layer("BatchNormalization", 4), layer("Conv2D", 4, 2))
    assert partners(network, network) == [0, 1, 2]


def test_a_level_more_shifts_nothing() -> None:
    down, deep, up = layer("Conv2D", 1, 4), layer("Conv2D", 4, 8), layer("Conv2D", 8, 4)
    deeper, back = layer("Conv2D", 8, 16), layer("Conv2D", 16, 8)
    assert partners((down, deep, up), (down, deep, deeper, back, up)) == [0, 1, None, None, 2]
    assert partners((down, deep, deeper, back, up), (down, deep, up)) == [0, 1, 4]


def test_layers_of_another_kind_or_shape_have_no_partner() -> None:
    old = (layer("Conv2D", 3, 4), layer("Conv2D", 4, 4))
    assert partners(old, (layer("Dense", 3, 4), layer("Conv2D", 4, 4))) == [None, 1]
    assert partners((), (layer("Dense", 3, 4),)) == [None]
    assert partners(old, ()) == []


def test_of_two_ways_the_one_with_more_weights_is_taken() -> None:
    small, large = layer("Conv2D", 2, 2), layer("Conv2D", 9, 9)
    assert partners((large, small), (small, large)) == [None, 0]
