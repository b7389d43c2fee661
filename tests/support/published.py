"""Forms of the public training code that training here does not take: parity holds the losses against them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from probe.distillation.losses.key_query import KeyQueryTerm, reverse
from probe.distillation.losses.transport import ConditionalTransport, transport_cost
from probe.models.attention import Normalisation, batch_key_sigma

Batched = Float[Tensor, "batch position d"]


def released_transport(networks: ConditionalTransport, queries: Batched, keys: Batched) -> KeyQueryTerm:
    """The published form: padded positions count like others, and L_kq is added to the token sums.

    `queries` and `keys` are padded to one length, with the vectors of token id 0 outside the responses. The networks
    are constants (the published optimiser leaves them out), and P_query makes transport cheap.
    """
    frozen = {name: value.detach() for name, value in networks.named_parameters()}

    def run(name: str, vectors: Tensor) -> Tensor:
        network: nn.Module = getattr(networks, name)
        weights = {key.removeprefix(f"{name}."): value for key, value in frozen.items() if key.startswith(f"{name}.")}
        return torch.func.functional_call(network, weights, (vectors,))

    sides = reverse(queries), keys.detach()

    def cost(kind: str, *, flip: bool) -> Tensor:
        outputs = [run(f"{network}_{kind}", side) for network in ("critic", "navigator") for side in sides]
        f_q, f_k, g_q, g_k = (one.transpose(1, 2) if flip else one for one in outputs)
        return transport_cost(f_q, f_k, g_q, g_k).mean()

    return KeyQueryTerm(-cost("token", flip=False) - cost("feature", flip=True), None, per_target=True)


def batch_sigmas(
    input_emb: Float[Tensor, "batch teacher d_t"],
    target_emb: Float[Tensor, "batch teacher d_t"],
    hidden: Float[Tensor, "batch teacher d_t"],
    response: Bool[Tensor, "batch teacher"],
    zero_emb: Float[Tensor, " d_t"],
) -> Normalisation:
    """The published `batch` normalisation of a padded batch; it depends on batch mates and on the padding length.

    `response` is true at valid response positions; elsewhere both embeddings are replaced by `zero_emb`, that of token
    id 0. `hidden` counts at every position, padding included.
    """
    target_emb = torch.where(response.unsqueeze(-1), target_emb, zero_emb)
    return Normalisation(
        "batch",
        sigma_k=batch_key_sigma(input_emb, target_emb, response, zero_emb),
        sigma_h=_std(hidden),
        sigma_e=_std(target_emb),
    )


def _std(values: Tensor) -> float:
    return values.double().std().item()
