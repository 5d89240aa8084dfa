"""Training in one and in two processes: PyTorch's sharding over our blocks gives what one process gives."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.training.losses import (
    mtp_loss,
    next_token_loss,
    record_routing,
    update_router_bias,
)
from alpamayo_vla_model.nemotron.training.sharding import shard

SHAPE = NemotronConfig.preset("tiny").with_(
    vocab_size=50, hidden_size=32, pattern="ME*-", mamba_num_heads=2, mamba_head_dim=16, intermediate_size=48
)
STEPS = 3


def train(model: NemotronModel, tokens: torch.Tensor, group: dist.ProcessGroup | None = None) -> None:
    """A few steps of plain descent, which keeps the difference of two runs as small as that of their gradients."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        with record_routing(model) as records:
            hidden = model(tokens, return_hidden=True)
            loss = next_token_loss(model.logits(hidden), tokens) + mtp_loss(model, hidden, tokens)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        update_router_bias(records, group=group)


def batch() -> torch.Tensor:
    return torch.randint(0, 50, (4, 12), generator=torch.Generator().manual_seed(1))


def train_sharded(rank: int, world: int, folder: Path) -> dict[str, torch.Tensor]:
    """Train on this process's part of the batch and return all parameters."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        mesh = init_device_mesh("cpu", (world,))
        model = shard(NemotronModel(SHAPE), mesh)
        parameters = dict(model.named_parameters())
        assert all(isinstance(p, DTensor) for p in parameters.values())
        held = sum(p.to_local().numel() for p in parameters.values())
        assert held <= 1.05 * sum(p.numel() for p in parameters.values()) / world
        train(model, batch().chunk(world)[rank], mesh.get_group())
        found = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
        model.save_pretrained(folder / "saved", shard_bytes=100_000)
        with pytest.raises((OSError, RuntimeError), match=r"File exists|not written"):
            model.save_pretrained(folder / "rendezvous")
        dist.barrier()
        return found
    finally:
        dist.destroy_process_group()


def run_processes(world: int, folder: Path) -> None:
    """Run this file once a rank; a failure shows what each of them wrote."""
    logs = [folder / f"{rank}.log" for rank in range(world)]
    processes = []
    try:
        for rank, log in enumerate(logs):
            with log.open("w") as out:
                command = [sys.executable, __file__, str(rank), str(world), str(folder)]
                processes.append(subprocess.Popen(command, stdout=out, stderr=out))
        codes = [wait(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    written = [
        f"rank {rank} ended with {code}:\n{log.read_text()}"
        for rank, (code, log) in enumerate(zip(codes, logs, strict=True))
    ]
    assert codes == [0] * world, "\n".join(written)


def wait(process: subprocess.Popen) -> int | None:
    """Return how a process ended; None if it still runs after ten minutes, which only a deadlock takes."""
    try:
        return process.wait(timeout=600)
    except subprocess.TimeoutExpired:
        return None


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of its own internals
@pytest.mark.parametrize("world", [1, 2])
def test_sharded_training_is_training(world, tmp_path):
    model = NemotronModel(SHAPE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, batch())
    if world == 1:
        found = train_sharded(0, 1, tmp_path)
    else:
        run_processes(world, tmp_path)
        found = torch.load(tmp_path / "state.pt")
    for name, tensor in model.state_dict().items():
        assert not torch.equal(tensor, before[name]), name
        torch.testing.assert_close(found[name], tensor, rtol=2e-4, atol=2e-6, msg=name)
    saved = NemotronModel.from_pretrained(tmp_path / "saved").state_dict()
    assert all(torch.equal(saved[name], found[name]) for name in saved)
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) > 1


def test_tied_embeddings_are_refused():
    with pytest.raises(ValueError, match="tied"):
        shard(NemotronModel(SHAPE.with_(tie_word_embeddings=True), device="meta"), None)


if __name__ == "__main__":
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    state = train_sharded(rank, world, folder)
    if rank == 0:
        torch.save(state, folder / "state.pt")
