"""A model without weights, and operations without results: what tensors there would be, and nothing in them.

The model is built from its configuration alone, with the layers, dtypes and quantized storages that its weights
would have, on torch's fake tensors. It runs and learns like a real one as far as shapes go.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import bitsandbytes.nn
import torch
from bitsandbytes.backends.default.ops import _gemm_4bit_default_impl
from bitsandbytes.nn.modules import Linear4bit
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from finetune.config import Quantization
from finetune.memory import stand_ins
from finetune.memory.live_bytes import CUDA_BLOCK_BYTES, LiveBytes
from finetune.model import nf4

aten = torch.ops.aten

DEVICE = "cpu"
"""Where fake tensors say that they are, whatever the job's device: a GPU is then planned for without one."""


class FakeMemory(LiveBytes):
    """Counts fake tensors, and answers what can only be known of real ones: `holds` is each yes or no.

    Where a result's size depends on values it is the largest: masks select everything.
    """

    def __init__(self, device_type: str, *, block_bytes: int, holds: bool) -> None:
        super().__init__(device_type, block_bytes=block_bytes)
        self._holds = holds

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].fake_device if hasattr(args[0], "fake_device") else func(*args)
        if func is aten._local_scalar_dense.default:
            return _value(args[0], self._holds)
        if func is aten.index.Tensor and (mask := _mask_of(args[1])) is not None:
            return args[0].reshape(mask.numel(), *args[0].shape[mask.dim() :]).clone()
        if func is aten.nonzero.default:
            return args[0].new_empty((args[0].numel(), args[0].dim()), dtype=torch.long)
        if func is aten.masked_select.default:
            return args[0].expand_as(args[1]).reshape(-1).clone()
        if func is torch.ops.bitsandbytes.gemm_4bit.default:
            # Its kernels take the weights apart in memory of their own, which its fake does not.
            return _gemm_4bit_default_impl(*args, **kwargs)
        return func(*args, **kwargs)

    def _count(self, tensor: Any) -> Any:
        mode = getattr(tensor, "fake_mode", None)
        return super()._count(tensor) if mode is None or isinstance(mode, _Faking) else None


def _value(tensor: Any, holds: bool) -> bool | int | float:
    if tensor.dtype is torch.bool:
        return holds
    return 1.0 if tensor.is_floating_point() else 1


def _mask_of(indices: Any) -> Any:
    mask = indices[0] if len(indices) == 1 else None
    return mask if mask is not None and mask.dtype is torch.bool else None


class _Faking(FakeTensorMode):  # type: ignore[misc]  # torch is not typed here
    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        # What it remembers keeps a module from being moved, and none of it is needed again.
        self.fake_tensor_converter.set_tensor_memo = lambda real, fake: None

    def __deepcopy__(self, memo: object) -> "_Faking":
        # A fake tensor holds its mode, and a copy of one, such as of a head that PEFT keeps, belongs to the same.
        return self


@contextmanager
def faking(device: str, *, padded: bool) -> Iterator[FakeMemory]:
    """Make every tensor within a fake one, and count what would be on `device`.

    `padded` says whether batches have padding, or several sequences in a row. For a GPU its own kernels are stood in
    for where they take other memory than the CPU's.
    """
    import trl.kernels.chunked_logprob
    import trl.trainer.utils
    from bitsandbytes import functional
    from torch.distributed.tensor import _sharding_prop
    from transformers import masking_utils

    on_gpu = device.startswith("cuda")
    memory = FakeMemory(DEVICE, block_bytes=CUDA_BLOCK_BYTES if on_gpu else 1, holds=not padded)
    # Kept by the library for all layers: it must not be made of fake tensors.
    functional.name2qmap.setdefault("dynamic", functional.create_dynamic_map())  # type: ignore[no-untyped-call]
    with (
        _replaced(bitsandbytes.nn.modules, {"fix_4bit_weight_quant_state_from_module": _restore_state}),
        # So that the fakes on which DTensor works out shapes, of whole weights, are told from these.
        _replaced(_sharding_prop, {"detect_fake_mode": lambda: None}),
        _replaced(masking_utils, {"is_tracing": lambda tensor=None: False}),
        _replaced(trl.trainer.utils, stand_ins.CHOICE if on_gpu else {}),
        _replaced(trl.kernels.chunked_logprob, stand_ins.KERNELS if on_gpu else {}),
        _Faking(),
        memory,
    ):
        yield memory


@contextmanager
def real() -> Iterator[None]:
    """Let tensors be real for a while."""
    with _disable_current_modes():
        yield


@contextmanager
def _replaced(module: Any, values: Mapping[str, Any]) -> Iterator[None]:
    missing = object()
    before = {name: getattr(module, name, missing) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                delattr(module, name)
            else:
                setattr(module, name, value)


def fake_model(config: Any, *, quantization: Quantization, dtype: torch.dtype, reward: bool = False) -> Any:
    """Build a model as `load_model` would load it; to be called within `faking`."""
    from transformers.quantizers import AutoHfQuantizer

    with real():
        model = shapes(config, dtype, reward=reward)
        if quantization == "nf4":
            model.hf_quantizer = AutoHfQuantizer.from_config(nf4(dtype), pre_quantized=False)
            model.hf_quantizer.preprocess_model(model=model, device_map={"": DEVICE})
    fakes: dict[int, Any] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                # A weight that is tied to another is one and the same.
                if id(weight) not in fakes:
                    fakes[id(weight)] = _fake_weight(module, name, weight, dtype)
                module._parameters[name] = fakes[id(weight)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=DEVICE)
    if quantization == "nf4":
        model.hf_quantizer.postprocess_model(model)
    return model.eval()


def shapes(config: Any, dtype: torch.dtype, *, reward: bool = False) -> Any:
    """Build a model on torch's meta device, where it has shapes alone."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.initialization import no_init_weights

    kind = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    config = copy.deepcopy(config)
    config.num_labels = 1 if reward else config.num_labels
    with no_init_weights(), torch.device("meta"):
        model = kind.from_config(config, dtype=dtype)
        model.tie_weights()
    return model


def _fake_weight(module: Any, name: str, weight: Any, dtype: torch.dtype) -> Any:
    quantized = isinstance(module, Linear4bit)
    data = torch.empty(weight.shape, dtype=dtype if quantized else weight.dtype, device=DEVICE)
    if not quantized or name != "weight":
        return torch.nn.Parameter(data, requires_grad=weight.requires_grad)
    packed, state = bitsandbytes.functional.quantize_4bit(
        data,
        blocksize=weight.blocksize,
        compress_statistics=weight.compress_statistics,
        quant_type=weight.quant_type,
        quant_storage=weight.quant_storage,
    )
    # bitsandbytes' own class of weights cannot hold a fake tensor; its layers ask for these attributes alone.
    fake = torch.nn.Parameter(packed, requires_grad=False)
    module.quant_state = state
    # On CPUs that have bfloat16 it would lay its weights out anew for evaluations.
    module.support_avx512bf16_for_cpu = False
    fake.compress_statistics, fake.quant_type = weight.compress_statistics, weight.quant_type
    return fake


def _restore_state(module: Any) -> None:
    """A fake weight loses its attributes when its module is moved."""
    module.weight.quant_state = module.quant_state
