"""Products of a few tokens with a layer's weights on a CPU, where a batch that is being answered spends its time.

`linear` has MKL multiply tokens by transposed weights. For single tokens and for long prompts that is as fast as can
be; for 4 to 48 tokens the weights by the transposed tokens take 0.5 to 0.9 of its time in float32, and as long for 4 as
for 16. In other types, and without MKL, `linear` is the faster one.
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

LEAST: Final = 4
MOST: Final = 48
"""So many tokens are multiplied the other way around."""


def quicken(model: Any) -> None:
    """Let a model's plain linear layers multiply few tokens the quicker way, where there is one."""
    import torch

    if not torch.backends.mkl.is_available():
        return
    for layer in model.modules():
        # Layers of quantized weights are of types of their own.
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            layer.forward = _product_of(layer)


def _product_of(layer: Any) -> Any:
    from torch.nn.functional import linear

    def product(given: "torch.Tensor") -> "torch.Tensor":
        weight, bias = layer.weight, layer.bias
        tokens = given.numel() // given.shape[-1]
        if not LEAST <= tokens <= MOST:
            return linear(given, weight, bias)
        found = (weight @ given.reshape(tokens, -1).T).T.contiguous()
        if bias is not None:
            found += bias
        return found.view(*given.shape[:-1], -1)

    return product
