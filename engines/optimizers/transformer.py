"""A decoder-only transformer over characters."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEVIATION = 0.02


class Block(nn.Module):
    """Pre-LN: x + attention(norm(x)), then x + mlp(norm(x)) with GELU and a hidden width of 4d."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, context, width) to the same shape; position t sees positions 0..t."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Token and learned position embeddings, `layers` blocks, a final norm and a linear head without bias.

    Every matrix starts from N(0, 0.02), every bias from 0.
    """

    def __init__(self, characters: int, context: int, width: int, layers: int, heads: int):
        super().__init__()
        self.tokens = nn.Embedding(characters, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters, bias=False)
        for name, value in self.named_parameters():
            if value.ndim >= 2:
                nn.init.normal_(value, std=DEVIATION)
            elif name.endswith("bias"):
                nn.init.zeros_(value)

    def forward(self, text: Tensor) -> Tensor:
        """Codes (batch, length), int64, to logits (batch, length, characters)."""
        x = self.tokens(text) + self.positions(torch.arange(text.shape[1], device=text.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
