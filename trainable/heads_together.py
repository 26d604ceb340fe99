"""Heads of many trials on the same features, trained together: one batched product a step for all.

A step of a head takes far longer to ask for than to compute. All trials of a frozen backbone read the same
features, so the steps of several are done at once: the k-th step of each is one slice of a batched product.
Each trial keeps its own initialisation, order of images, epochs and stopper. Whoever ends leaves the
others to train on; they never wait for each other, as their epochs need not be equally long.

On a CPU each trial is, bit for bit, what it is alone: each slice of the batched products is the product of one
trial, and AdamW's kernel is given the pieces whose elements it would treat otherwise one by one. On a GPU the
products of one trial and of many are other kernels, and agree within rounding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from torch.optim.adamw import adamw

from trainable.errors import NonFiniteLossError
from trainable.models.architectures import Head
from trainable.run import TrainingRun

PIECE = 1 << 22
"""Bytes of features that are fetched at once, for some steps of all trials."""
VECTOR = 16
"""Numbers of float32 in the widest vector of a CPU. AdamW's kernel rounds what is left over at the end of a tensor
in another way, so tensors whose sizes are multiples of it can be one."""
OF_ADAMW = ("lr", "weight_decay", "eps", "amsgrad", "maximize")


@torch.no_grad()
def train_together(runs: Sequence[TrainingRun]) -> list[NonFiniteLossError | None]:
    """Train runs of one `groups_of_heads.kind`, none of which has begun, to their ends.

    A row's seconds are the run's share of those in which it trained together with others, in equal parts, and
    those of its own evaluation.

    Returns
    -------
    list
        Of each run, None, or the error that ended it while the others trained on.
    """
    errors: list[NonFiniteLossError | None] = [None] * len(runs)
    members = [_Member(number, run) for number, run in enumerate(runs)]
    heads = _Heads([member.run for member in members]) if members else None
    while heads is not None:
        start = time.perf_counter()
        _train_until_one_ends_an_epoch(members, heads)
        share = (time.perf_counter() - start) / len(members)
        ended: list[_Member] = []
        for place, member in enumerate(members):
            member.seconds += share
            if member.left:
                continue
            heads.copy_to(place, member.run)
            try:
                member.end_epoch()
            except NonFiniteLossError as error:
                errors[member.number] = error
                ended.append(member)
            else:
                if member.run.finished:
                    ended.append(member)
                else:
                    member.begin_epoch()
        if ended:
            for member in ended:
                heads.copy_optimiser_to(members.index(member), member.run)
            staying = [place for place, member in enumerate(members) if member not in ended]
            members = [members[place] for place in staying]
            heads = heads.only(staying) if staying else None
    return errors


@dataclass(eq=False)
class _Member:
    """One of the runs, within an epoch."""

    number: int
    run: TrainingRun
    order: torch.Tensor = field(init=False)
    """Shape (n,), on the CPU: rows of the training images in the epoch's order."""
    labels: torch.Tensor = field(init=False)
    """Shape (n,), on the device."""
    logits: torch.Tensor = field(init=False)
    """Shape (n, C), of the images before the step that they took part in."""
    done: int = field(init=False)
    """Images of the epoch so far."""
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin_epoch()

    @property
    def left(self) -> int:
        """Batches of the epoch that are left."""
        return -(-(len(self.order) - self.done) // self.run.config.batch_size)

    def begin_epoch(self) -> None:
        """Draw the order of the next epoch."""
        run = self.run
        order = run.order_of_epoch()[0]
        self.order = torch.from_numpy(run.partition.train)[order]
        self.labels = torch.from_numpy(run.partition.train_labels)[order].to(run.device)
        n_classes = len(run.selection.class_names)
        self.logits = torch.empty(len(order), n_classes, device=run.device)
        self.done, self.seconds = 0, 0.0

    def end_epoch(self) -> None:
        """Evaluate the epoch, whose weights the run has by now."""
        trained = self.run.training_scores(self.logits, self.labels)
        self.run.finish_epoch(trained, time.perf_counter() - self.seconds, self.seconds)


class _Heads:
    """Parameters of G heads with C classes and D features, one after the other, and AdamW's state.

    Parameters
    ----------
    runs
        Of one kind, at one and the same step.
    """

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        linears = [_head(run).linear for run in runs]
        group = runs[0].optimiser.param_groups[0]
        self.settings: dict[str, Any] = {**group, "lr": float(group["lr"])}
        weight = torch.stack([linear.weight.detach() for linear in linears])
        bias = torch.stack([linear.bias.detach() for linear in linears])
        state = [torch.zeros_like(t) for t in (weight, weight, bias, bias)]
        self._take(weight, bias, *state, steps=0.0)

    def _take(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor,
        *state: torch.Tensor,
        steps: float,
    ) -> None:
        self.weight, self.bias, self.state = weight, bias, state
        self.weight_grad, self.bias_grad = torch.empty_like(weight), torch.empty_like(bias)
        whole = weight[0].numel() % VECTOR == 0

        def pieces(of_weight: torch.Tensor, of_bias: torch.Tensor) -> list[torch.Tensor]:
            weights = [of_weight] if whole else [*of_weight.unbind()]
            return [*weights, *of_bias.unbind()]

        self._parameters = pieces(weight, bias)
        self._grads = pieces(self.weight_grad, self.bias_grad)
        self._averages = pieces(state[0], state[2])
        self._squares = pieces(state[1], state[3])
        self._steps = [torch.tensor(steps, device=weight.device) for _ in self._parameters]

    def only(self, places: Sequence[int]) -> _Heads:
        """Some of the heads, with their state."""
        some = object.__new__(_Heads)
        some.settings = self.settings
        kept = [tensor[[*places]] for tensor in (self.weight, self.bias, *self.state)]
        some._take(*kept, steps=self._steps[0].item())
        return some

    def gradients(
        self,
        features: torch.Tensor,
        targets: torch.Tensor,
        logits: torch.Tensor,
        autocast: torch.autocast | None,
    ) -> None:
        """The closed form of `forward_backward.head_forward_backward`, for all heads at once.

        Parameters
        ----------
        features
            Shape (G, B, D).
        targets
            Shape (G, B, C): 1 for the label's class, else 0.
        logits
            Shape (G, B, C), to be written.
        """
        products = self.bias.unsqueeze(1), features, self.weight.transpose(1, 2)
        if autocast is None:
            torch.baddbmm(*products, out=logits)
        else:
            with autocast:
                logits.copy_(torch.baddbmm(*products))
        error = logits.softmax(2)
        error -= targets
        error /= features.shape[1]
        torch.bmm(error.transpose(1, 2), features, out=self.weight_grad)
        torch.sum(error, 1, out=self.bias_grad)

    def gradients_of_one(
        self,
        place: int,
        features: torch.Tensor,
        targets: torch.Tensor,
        logits: torch.Tensor,
        autocast: torch.autocast | None,
    ) -> None:
        """The same of one head, of a batch of another size than those of the others."""
        with autocast or nullcontext():
            found = functional.linear(features, self.weight[place], self.bias[place])
        logits.copy_(found)
        error = logits.softmax(1)
        error -= targets
        error /= len(features)
        self.weight_grad[place] = error.T @ features
        self.bias_grad[place] = error.sum(0)

    def step(self) -> None:
        """AdamW's step of all heads."""
        adamw(
            self._parameters,
            self._grads,
            self._averages,
            self._squares,
            [],
            self._steps,
            fused=True,
            beta1=self.settings["betas"][0],
            beta2=self.settings["betas"][1],
            **{name: self.settings[name] for name in OF_ADAMW},
        )

    def copy_to(self, place: int, run: TrainingRun) -> None:
        """Give a run its head."""
        linear = _head(run).linear
        linear.weight.copy_(self.weight[place])
        linear.bias.copy_(self.bias[place])

    def copy_optimiser_to(self, place: int, run: TrainingRun) -> None:
        """Give a run the state of its AdamW."""
        average, square, bias_average, bias_square = (part[place].clone() for part in self.state)
        step = self._steps[0]
        state = run.optimiser.state_dict()
        state["state"] = {
            0: {"step": step.clone(), "exp_avg": average, "exp_avg_sq": square},
            1: {"step": step.clone(), "exp_avg": bias_average, "exp_avg_sq": bias_square},
        }
        run.optimiser.load_state_dict(state)


def _head(run: TrainingRun) -> Head:
    assert isinstance(run.model, Head), "a run on features trains a head alone"
    return run.model


def _train_until_one_ends_an_epoch(members: Sequence[_Member], heads: _Heads) -> None:
    """As many steps of all as the one with the fewest left has, or as `PIECE` has room for."""
    run = members[0].run
    size, device = run.config.batch_size, run.device
    length = min(member.left for member in members)
    length = min(length, max(1, PIECE // (len(members) * size * run.inputs.row_bytes)))
    bf16 = run.config.precision == "bf16"
    autocast = torch.autocast(device.type, torch.bfloat16) if bf16 else None
    rows, labels = [], []
    for member in members:  # a batch that is too small is filled up, and done again below
        pieces = [
            t[member.done : member.done + length * size] for t in (member.order, member.labels)
        ]
        missing = length * size - len(pieces[0])
        filled = [functional.pad(piece, (0, missing)) for piece in pieces]
        rows.append(filled[0].view(length, size))
        labels.append(filled[1].view(length, size))
    order = torch.stack(rows, 1)  # (steps, G, B)
    (fetched,) = run.inputs.batches(order.flatten(), order.numel())
    features = fetched.view(*order.shape, -1)
    classes = heads.bias.shape[1]
    targets = functional.one_hot(torch.stack(labels, 1), classes).to(features.dtype)
    logits = torch.empty(*order.shape, classes, device=device)
    for step in range(length):
        heads.gradients(features[step], targets[step], logits[step], autocast)
        if step == length - 1:
            for place, member in enumerate(members):
                last = len(member.order) - member.done - step * size
                if last < size:
                    there = (step, place, slice(last))
                    batch = features[there], targets[there], logits[there]
                    heads.gradients_of_one(place, *batch, autocast)
        heads.step()
    for place, member in enumerate(members):
        whole = logits[:, place].reshape(-1, classes)
        part = member.logits[member.done : member.done + length * size]
        part.copy_(whole[: len(part)])
        member.done += len(part)
