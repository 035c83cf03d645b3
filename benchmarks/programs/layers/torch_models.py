"""PyTorch's LSTM language model; the other models are those of `programs.ops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from programs.models import RATE


class LanguageModel(nn.Module):
    """Tokens to logits of the next ones."""

    def __init__(self, params: Any) -> None:
        super().__init__()
        vocabulary, width = params["embed"].shape
        cells, dtype = params["cells"], params["embed"].dtype
        self.tokens = nn.Embedding(vocabulary, width, _weight=params["embed"])
        self.lstm = nn.LSTM(width, width, len(cells), batch_first=True, dtype=dtype)
        self.head = nn.Linear(width, vocabulary, dtype=dtype)
        with torch.no_grad():
            for i, p in enumerate(cells):
                getattr(self.lstm, f"weight_ih_l{i}").copy_(p["wx"].t())
                getattr(self.lstm, f"weight_hh_l{i}").copy_(p["wh"].t())
                getattr(self.lstm, f"bias_ih_l{i}").copy_(p["b"])
                getattr(self.lstm, f"bias_hh_l{i}").zero_().requires_grad_(False)
            self.head.weight.copy_(params["head"]["dense"].t())
            self.head.bias.copy_(params["head"]["b"])

    def forward(self, tokens: Any) -> Any:
        return self.head(self.lstm(self.tokens(tokens))[0])


def language_model(
    params: Any, stats: Any, tokens: Any, compiled: bool = False
) -> Callable[[], Any]:
    """An LSTM of several layers."""
    model, tokens = LanguageModel(params), tokens.long()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, RATE, fused=True)

    def loss(tokens: Any) -> Any:
        return cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    if compiled:
        loss = torch.compile(loss)

    def call() -> Any:
        optimizer.zero_grad()
        value = loss(tokens)
        value.backward()
        optimizer.step()
        return value.detach()

    return call


def compiled_language_model(*args: Any) -> Callable[[], Any]:
    """The same by torch.compile."""
    return language_model(*args, compiled=True)
