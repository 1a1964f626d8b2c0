"""For authors of layers: the tests that a layer of one's own must pass, ready to be inherited.

from foveal.testing import LayerConformance

class TestMyLayer(LayerConformance):
    layer = MyLayer(slope=0.1)
    in_shape = (3, 8, 8)
"""

from foveal.testing.conformance import LayerConformance

__all__ = ["LayerConformance"]
