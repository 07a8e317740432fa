"""The flow in the goldens' size with the goldens' weights, and a tiny one for properties."""

from functools import cache

import torch
from goldens import golden

from antiphon.engine.speak.flow import Flow
from antiphon.engine.weights.configs import FlowConfig
from antiphon.engine.weights.names import rename_flow

# tests/parity/data/decoder/config.yaml
GOLDEN_FLOW = FlowConfig(
    vocab_size=512,
    input_size=48,
    encoder_size=64,
    encoder_heads=4,
    encoder_ffn=128,
    encoder_layers=2,
    estimator_channels=(40, 40),
    estimator_head_dim=24,
    estimator_heads=2,
    estimator_blocks=1,
    estimator_mid_blocks=2,
)

# Three rates and unequal channels, so that nothing fits by chance; blocks short enough for a few tokens to fill some.
TINY_FLOW = FlowConfig(
    vocab_size=32,
    input_size=6,
    mel_bins=8,
    speaker_dim=5,
    encoder_size=16,
    encoder_heads=2,
    encoder_ffn=24,
    encoder_layers=2,
    encoder_block=4,
    regulator_channels=8,
    regulator_layers=2,
    estimator_in=32,
    estimator_channels=(16, 24, 8),
    estimator_head_dim=6,
    estimator_heads=2,
    estimator_blocks=1,
    estimator_mid_blocks=1,
)


def official_flow_tensors() -> dict[str, torch.Tensor]:
    """`flow.pt` of the goldens, by official name."""
    tensors: dict[str, torch.Tensor] = torch.load(golden("decoder/flow.pt"), weights_only=True)
    return tensors


@cache
def golden_flow() -> Flow:
    """Loaded strictly, in eval mode. Shared: do not change it."""
    flow = Flow(GOLDEN_FLOW).eval()
    flow.load_state_dict({rename_flow(name): tensor for name, tensor in official_flow_tensors().items()}, strict=True)
    return flow


def tiny_flow() -> Flow:
    """With fixed random weights, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Flow(TINY_FLOW).eval()
