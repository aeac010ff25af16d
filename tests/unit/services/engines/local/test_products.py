import pytest
import torch

from services.engines.local.products import LEAST, MOST, quicken

pytestmark = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch was built without MKL")


@pytest.mark.parametrize("tokens", [1, LEAST - 1, LEAST, 16, MOST, MOST + 1])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_gives_what_it_gave_before(tokens: int, bias: bool) -> None:
    layer = torch.nn.Linear(24, 40, bias=bias)
    given = torch.randn(1, tokens, 24)
    with torch.inference_mode():
        before = layer(given)
        quicken(torch.nn.Sequential(layer))
        after = layer(given)

    assert after.shape == before.shape
    assert after.is_contiguous()
    torch.testing.assert_close(after, before)


def test_weights_that_are_put_in_later_are_those_that_count() -> None:
    layer = torch.nn.Linear(24, 40, bias=False)
    quicken(layer)
    layer.weight = torch.nn.Parameter(torch.zeros(40, 24))

    assert not layer(torch.randn(1, LEAST, 24)).any()


def test_only_plain_layers_in_float32_are_changed() -> None:
    # Layers of quantized weights are of classes that come from the plain one, as this is.
    derived = torch.nn.modules.linear.NonDynamicallyQuantizableLinear(4, 4)
    layers = [torch.nn.Linear(4, 4, dtype=torch.bfloat16), derived, torch.nn.LayerNorm(4)]
    quicken(torch.nn.Sequential(*layers))

    assert not any("forward" in vars(layer) for layer in layers)
