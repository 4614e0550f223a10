"""PyTorch on the GPU: `eager`, `compile` (torch.compile) or `cudnn` (its own LSTM, by cuDNN)."""

from __future__ import annotations

import sys
from typing import Any

import torch

MODE = sys.argv[1]
sys.argv[1:] = ["compile" if MODE == "compile" else "eager", "1"]  # what torch_peer reads

import torch_peer  # noqa: E402
from cases import Case  # noqa: E402
from gpu_protocol import Device, serve  # noqa: E402
from programs import LEARNING_RATE, Function, Unable  # noqa: E402
from protocol import Peer  # noqa: E402

torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32 for all peers
torch.backends.cudnn.allow_tf32 = False


def own(array: Any) -> Any:
    return torch.tensor(array, device="cuda")


def watched(array: Any) -> Any:
    return torch.tensor(array, device="cuda", requires_grad=True)


def cudnn(case: Case) -> Function:
    """A training step of an LSTM as cuDNN has it: the gates in another order, two biases."""
    if case.program != "unrolled lstm":
        raise Unable("cuDNN has LSTMs alone")
    _, _, n = case.size
    network = torch.nn.LSTM(n, n).cuda()
    parameters = list(network.parameters())

    def step(w: Any, u: Any, bias: Any, xs: Any, y: Any) -> Any:
        _, (h, _) = network(xs)
        loss = ((h[0] - y) ** 2).mean()
        found = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.sub_(gradient, alpha=LEARNING_RATE)
        return w, u, bias, loss

    return step


if __name__ == "__main__":
    function_of = cudnn if MODE == "cudnn" else torch_peer.function_of
    peer = Peer(function_of, own, lambda tensor: tensor.detach().cpu().numpy(), watched)
    serve(Device(peer, torch.cuda.synchronize, peak=torch.cuda.max_memory_allocated))
