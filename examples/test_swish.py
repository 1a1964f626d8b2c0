"""The tests that every layer must pass, inherited:  python -m pytest test_swish.py"""

from swish import Swish

from foveal.testing import LayerConformance


class TestSwishOnImages(LayerConformance):
    layer = Swish()
    in_shape = (3, 8, 8)


class TestSwishOnVectors(LayerConformance):
    layer = Swish()
    in_shape = (10,)
