"""transformers' Trainer around our objective: alone, in DDP, in a DeepSpeed engine, or spread by fully_shard."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer

from samvlm.model.modeling_samvlm import group_by_size
from training.objective import Objective
from training.recipe import Recipe
from training.sharding import ADAMW, Sharding
from training.shards import whole_weights

OPTIMIZER = "optimizer_{rank}.pt"  # of FSDP: what each process holds of the optimizer's state


class ShardedTrainer(Trainer):
    """A Trainer whose state may be spread over processes. `recipe`, `objective` and `sharding` are set before use."""

    recipe: Recipe
    objective: Objective
    sharding: Sharding | None

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader=None) -> nn.Module:
        """With several processes, what spreads the work goes around the objective: the losses too are part of its
        forward."""
        if not training or self.accelerator.unwrap_model(model) is not model:
            return super()._wrap_model(model, training, dataloader)
        if self.sharding is not None and self.sharding.weights:
            agree_on_sizes(self.objective.core.model)
        if self.sharding is not None and self.sharding.deepspeed:
            return self._wrap_by_deepspeed()
        if self.sharding is not None:
            return self._shard()
        if self.accelerator.distributed_type in ("MULTI_CPU", "MULTI_GPU"):
            device = self.args.device
            return DistributedDataParallel(
                self.objective,
                device_ids=[device.index] if device.type == "cuda" else None,
                find_unused_parameters=self.objective.may_leave_out(self.recipe.data.sources),
            )
        return super()._wrap_model(model, training, dataloader)

    def _wrap_by_deepspeed(self) -> nn.Module:
        engine, self.optimizer = self.accelerator.prepare(self.objective, self.optimizer)
        if self.sharding.weights:
            announce_biases(self.objective.core.model.vision_tower)
        wrapped = self.accelerator.deepspeed_engine_wrapped
        backward = wrapped.backward

        def guarded(loss: torch.Tensor, **kwargs) -> None:
            # DeepSpeed takes no step whose gradient is no finite number; neither must it where the loss alone is none.
            backward(loss * torch.where(loss.detach().isfinite(), 1.0, float("nan")), **kwargs)

        wrapped.backward = guarded
        return engine

    def _shard(self) -> nn.Module:
        """FSDP: the decoder's layers and the tower's blocks are gathered one by one, the rest with the whole."""
        device = self.args.device
        mesh = init_device_mesh(device.type, (self.args.world_size,))
        half = self.recipe.model.dtype == "bfloat16"
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
        for unit in units(self.objective.core):
            fully_shard(unit, mesh=mesh, mp_policy=policy)
        fully_shard(self.objective, mesh=mesh, mp_policy=policy)
        self.optimizer = None  # it was made for whole weights
        self.create_optimizer()
        return self.objective

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm)
        if self.sharding is not None and self.sharding.deepspeed:
            self.optimizer.optimizer.overflow = (
                False  # a step that was not taken counts for the schedule all the same
            )
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def plain_adamw(self, groups: list[dict]) -> torch.optim.Optimizer:
        """For DeepSpeed, which keeps the fp32 copies of the weights itself."""
        groups = [{key: value for key, value in group.items() if key != "muon"} for group in groups]
        return torch.optim.AdamW(groups, **ADAMW)

    def weights(self, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor] | None:
        """The whole state dict for the first process; all ask together. None: the model has it itself.

        Args:
            dtype: of floating-point parameters; default: as they are.
        """
        if self.sharding is None:
            return None
        return whole_weights(self.model, self.args.should_save, dtype)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model with whole weights."""
        if self.sharding is None:
            super().save_model(output_dir, _internal_call)
        else:
            self._save(output_dir, state_dict=self.weights())

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.sharding is not None and not self.sharding.deepspeed:
            folder = Path(output_dir)
            (folder / "optimizer.pt").unlink(missing_ok=True)
            state = local_state(self.optimizer.state_dict())
            torch.save(state, folder / OPTIMIZER.format(rank=self.args.process_index))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or self.sharding is None or self.sharding.deepspeed:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        scheduler = torch.load(folder / "scheduler.pt", weights_only=True)
        self.lr_scheduler.load_state_dict(scheduler)
        path = folder / OPTIMIZER.format(rank=self.args.process_index)
        state = torch.load(path, map_location="cpu", weights_only=True)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.optimizer.load_state_dict(spread_state(state, parameters))


def units(core: nn.Module) -> list[nn.Module]:
    """The modules that FSDP gathers one by one: those that transformers never splits over devices."""
    names = set(core._no_split_modules or ())
    return [module for module in core.modules() if type(module).__name__ in names]


def announce_biases(tower: nn.Module) -> None:
    """Let ZeRO-3 gather the bias of every attention's `qkv` with the attention itself, which pads windows with it. It
    would else gather the bias when it is looked at, and that depends on the image: one process would wait for ever."""
    from deepspeed.runtime.zero import register_external_parameter

    for module in tower.modules():
        bias = getattr(getattr(module, "qkv", None), "bias", None)
        if bias is not None:
            register_external_parameter(module, bias)


def agree_on_sizes(model: nn.Module) -> None:
    """Let the tower run equally often in every process: as each of its runs gathers weights from all, one process
    would else wait for ever where its images have more sizes than another's.

    Args:
        model: a `SamVlmModel`.
    """
    encode = model.get_image_features
    side = model.config.vision_config.patch_size * model.config.connector_factor

    def get_image_features(
        pixel_values: torch.Tensor, image_sizes: torch.Tensor | None = None, **kwargs
    ) -> Any:
        runs = len(group_by_size(pixel_values, image_sizes))
        most = torch.tensor(runs, device=pixel_values.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)  # before any weight is gathered
        output = encode(pixel_values, image_sizes=image_sizes, **kwargs)
        for _ in range(int(most) - runs):
            blank = encode(pixel_values.new_zeros(1, pixel_values.shape[1], side, side)).pooler_output[0]
            output.pooler_output[0] = output.pooler_output[0] + 0.0 * blank.sum()
        return output

    def dummy_features() -> torch.Tensor:
        # The model's own looks at a weight for this, which ZeRO-3 may gather then, in this process alone.
        parameter = next(model.parameters())
        pixels = torch.zeros(1, 3, side, side, dtype=parameter.dtype, device=parameter.device)
        return model.get_image_features(pixels).pooler_output[0]

    model.get_image_features, model.dummy_features = get_image_features, dummy_features


def local_state(state: Any) -> Any:
    """An optimizer's state dict with this process' parts in place of spread tensors."""
    if isinstance(state, DTensor):
        return state.to_local()
    if isinstance(state, dict):
        return {key: local_state(value) for key, value in state.items()}
    if isinstance(state, list):
        return [local_state(value) for value in state]
    return state


def spread_state(state: dict, parameters: list[DTensor]) -> dict:
    """The inverse of `local_state`, for the state of `MasterWeights` over fp32 weights, which has one inner optimizer.

    Args:
        parameters: of that optimizer, in its order.
    """
    (inner,) = state["inner"]
    for number, values in inner["state"].items():
        like = parameters[number]
        for key, value in values.items():
            if value.ndim and value.shape == like.to_local().shape:
                values[key] = DTensor.from_local(
                    value.to(like.device),
                    like.device_mesh,
                    like.placements,
                    run_check=False,
                    shape=like.shape,
                    stride=like.stride(),
                )
    return state
