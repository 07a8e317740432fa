"""The flow over a turn's last stretch: its encoder forgets nothing, its frames are those of the turn."""

from collections.abc import Sequence

import pytest
import torch
from compare import assert_close
from flow_models import TINY_FLOW, tiny_flow
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOLERANCE

from antiphon.engine.speak.encoder_history import EncoderHistory
from antiphon.engine.speak.flow import Flow
from antiphon.engine.speak.flow_window import EncodedTokens, FlowWindow, WindowSettings, no_tokens, start_windows
from antiphon.engine.speak.packing import Packing
from antiphon.engine.timeline import first_mel_frame_of, mel_frames_of, token_of_mel_frame

BLOCK, BINS = TINY_FLOW.encoder_block, TINY_FLOW.mel_bins
ENDLESS = 1_000
SEED = 2**40 + 5


def _tokens(count: int, seed: int = 0) -> list[int]:
    return torch.randint(TINY_FLOW.vocab_size, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def _encoded_in_pieces(flow: Flow, tokens: Sequence[int], sizes: Sequence[int]) -> tuple[torch.Tensor, EncoderHistory]:
    """The rows of full blocks as they first came, then those of the block left open; and the history."""
    history, rows, open_tokens, at = flow.encoder.begin(), [], [], 0
    out = torch.zeros(0, TINY_FLOW.encoder_size)
    for size in sizes:
        new = open_tokens + list(tokens[at : at + size])
        at += size
        embedded = flow.token_embedding(torch.tensor(new))
        out, [history] = flow.encoder.extend(embedded, Packing.of([len(new)], flow.device), [history], ENDLESS)
        full = len(new) // BLOCK * BLOCK
        rows.append(out[:full])
        open_tokens = new[full:]
    return torch.cat([*rows, out[len(out) - len(open_tokens) :]]), history


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=6))
@torch.inference_mode()
def test_tokens_encoded_piece_by_piece_are_those_of_the_whole_turn(sizes: list[int]) -> None:
    flow, tokens = tiny_flow(), _tokens(sum(sizes))
    rows, history = _encoded_in_pieces(flow, tokens, sizes)
    embedded = flow.token_embedding(torch.tensor(tokens))
    whole = flow.encoder(embedded, Packing.of([len(tokens)], flow.device))
    assert_close(rows, whole, TOLERANCE["flow-batch"], "encoded rows")
    assert history.tokens == len(tokens) // BLOCK * BLOCK


@torch.inference_mode()
def test_a_history_keeps_whole_blocks_up_to_its_limit() -> None:
    flow, history = tiny_flow(), tiny_flow().encoder.begin()
    kept = []
    for tokens in (_tokens(3), _tokens(9), _tokens(8), _tokens(40)):
        embedded = flow.token_embedding(torch.tensor(tokens))
        _, [history] = flow.encoder.extend(embedded, Packing.of([len(tokens)], flow.device), [history], 3 * BLOCK + 2)
        kept.append(history.tokens)
    assert kept == [0, 2 * BLOCK, 3 * BLOCK, 3 * BLOCK]


def _walk(sizes: Sequence[int], settings_: WindowSettings) -> list[tuple[EncodedTokens, FlowWindow, torch.Tensor]]:
    """What is known before each window of one turn, the window, and its frames before the first step."""
    flow, tokens, steps = tiny_flow(), _tokens(sum(sizes)), []
    before, at = no_tokens(flow), 0
    for size in sizes:
        first, final = first_mel_frame_of(before.window_start(settings_)), before.final_frames(settings_)
        window = FlowWindow(SEED, before, tuple(tokens[at : at + size]), torch.ones(final - first, BINS))
        [started] = start_windows(flow, [window], settings_)
        steps.append((before, window, started.solve.x))
        before, at = started.after, at + size
    return steps


@pytest.mark.parametrize(("prompt", "held"), [(5, 7), (0, 7), (2, 20), (500, 0)])
@torch.inference_mode()
def test_a_frame_has_its_noise_and_its_token_whichever_window_makes_it(prompt: int, held: int) -> None:
    settings_ = WindowSettings(prompt, held, ENDLESS)
    [(_, _, whole)] = _walk([40], settings_)
    assert whole.shape == (mel_frames_of(40), BINS) and abs(float(whole.std()) - 1) < 0.05
    ends = []
    for before, window, x in _walk([3, 10, 1, 16, 10], settings_):
        start = before.window_start(settings_)
        first, end = first_mel_frame_of(start), mel_frames_of(before.count + len(window.tokens))
        assert token_of_mel_frame(first) == start and (start == 0 or token_of_mel_frame(first - 1) == start - 1)
        assert torch.equal(x, whole[first:end])
        assert start <= max(0, before.count - prompt) and first <= before.final_frames(settings_)
        assert before.first_hidden <= start
        ends.append(end)
    assert ends == [mel_frames_of(count) for count in (3, 13, 14, 30, 40)]


@torch.inference_mode()
def test_windows_together_equal_each_alone() -> None:
    flow, settings_ = tiny_flow(), WindowSettings(5, 7, ENDLESS)
    windows = [_walk(sizes, settings_)[-1][1] for sizes in ([7], [7, 2], [30, 9], [30, 9], [4, 4, 4])]
    for window, one in zip(windows, start_windows(flow, windows, settings_), strict=True):
        [alone] = start_windows(flow, [window], settings_)
        assert torch.equal(one.solve.x, alone.solve.x)
        assert_close(one.solve.added, alone.solve.added, TOLERANCE["mu"], "mu and condition, as the estimator has them")
        assert_close(one.after.hidden, alone.after.hidden, TOLERANCE["flow-batch"], "hidden rows")
        assert (one.after.count, one.after.open_tokens) == (alone.after.count, alone.after.open_tokens)
