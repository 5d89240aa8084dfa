"""Losses and router balancing."""

import pytest
import torch

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.training.losses import (
    Routing,
    deterministic,
    expert_load,
    load_balancing_loss,
    mtp_loss,
    next_token_loss,
    record_routing,
    update_router_bias,
)

SHAPE = NemotronConfig.preset("tiny").with_(
    vocab_size=50, hidden_size=32, pattern="ME*", mamba_num_heads=2, mamba_head_dim=16, num_nextn_predict_layers=2
)


def tokens(batch: int = 4, time: int = 12) -> torch.Tensor:
    return torch.randint(0, 50, (batch, time), generator=torch.Generator().manual_seed(1))


def test_losses_fall_when_trained():
    model = NemotronModel(SHAPE)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids, history = tokens(), []
    for _ in range(40):
        hidden = model(ids, return_hidden=True)
        losses = torch.stack([next_token_loss(model.logits(hidden), ids), mtp_loss(model, hidden, ids)])
        losses.sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        history.append(losses.detach())
    assert (history[-1] < 0.5 * history[0]).all()


def test_mtp_reaches_its_parameters_and_skips_ignored_targets():
    model, ids = NemotronModel(SHAPE), tokens()
    hidden = model(ids, return_hidden=True)
    targets = ids.clone()
    targets[:, 6:] = -100
    loss = mtp_loss(model, hidden, ids, targets)
    loss.backward()
    assert all(p.grad is not None for p in model.mtp.parameters())
    assert not torch.isclose(loss, mtp_loss(model, model(ids, return_hidden=True), ids))
    with pytest.raises(ValueError, match="at least 4 tokens"):
        mtp_loss(model, hidden[:, :3], ids[:, :3])


def test_balance_loss_is_one_when_balanced_and_more_when_not():
    router = NemotronModel(SHAPE).routers()[0]
    even = Routing(router, torch.zeros(8, 4), torch.arange(8)[:, None] % 4)
    logits = torch.full((8, 4), -4.0)
    logits[:, 0] = 4.0
    skewed = Routing(router, logits, torch.zeros(8, 1, dtype=torch.long))
    assert torch.isclose(load_balancing_loss([even]), torch.tensor(1.0))
    assert load_balancing_loss([skewed]) > 3


def test_bias_updates_even_out_the_load():
    model, ids = NemotronModel(SHAPE), tokens(16, 32)
    with torch.no_grad():
        for router in model.routers():
            router.weight.mul_(20)
    loads = []
    for _ in range(300):
        with torch.no_grad(), record_routing(model) as records:
            model(ids)
        assert len(records) == 1
        loads.append(expert_load(records[0]))
        update_router_bias(records, rate=3e-3)
    assert loads[-1].max() < 0.2 < loads[0].max()


def test_training_repeats_its_bytes():
    runs = []
    for _ in range(2):
        with deterministic():
            assert torch.are_deterministic_algorithms_enabled()
            model, ids = NemotronModel(SHAPE.with_(vocab_size=50, pattern="ME*-")), tokens()
            model.checkpoint_activations = True
            optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
            for _ in range(3):
                with record_routing(model) as records:
                    hidden = model(ids, return_hidden=True)
                    loss = next_token_loss(model.logits(hidden), ids) + mtp_loss(model, hidden, ids)
                (loss + load_balancing_loss(records)).backward()
                optimiser.step()
                optimiser.zero_grad()
                update_router_bias(records)
        assert not torch.are_deterministic_algorithms_enabled()
        runs.append(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(runs[0].values(), runs[1].values(), strict=True))
