"""Functions that several Triton kernels call: which sequence a row belongs to, activations, sines of full precision.

Imported by `kernel.py` files alone. `tl.sin` is not used: its exact reduction of huge angles spills registers wherever
it is inlined.
"""

import triton
import triton.language as tl

# π in three terms. The first two have so few bits that their products with the whole half-turns of any angle up to
# 2·10⁵ and 2·10⁴ are exact, with or without fused multiply-add: the reduction is off by 1.2e-7 at most within ±10⁴.
_PI_1 = tl.constexpr(3.140625)
_PI_2 = tl.constexpr(0.0009676218032836914)
_PI_3 = tl.constexpr(3.1786509424591713e-08)
_HALF_TURNS = tl.constexpr(0.3183098861837907)  # 1 / π
_HALF_PI = tl.constexpr(1.5707964)
# sin r − r over r³ on [−π/2, π/2] as a polynomial in r²: the least greatest error, 4.6e-9, by reweighted least squares.
_S_3 = tl.constexpr(-0.16666656732559204)
_S_5 = tl.constexpr(0.008333017118275166)
_S_7 = tl.constexpr(-0.00019806614727713168)
_S_9 = tl.constexpr(2.6000532216130523e-06)
_HALF_ROOT = tl.constexpr(0.7071067811865476)  # √½


@triton.jit
def _sine_within(x, half_turns):
    """sin(x − π · half_turns), which must lie within ±π/2."""
    r = ((x - half_turns * _PI_1) - half_turns * _PI_2) - half_turns * _PI_3
    # Where x is so large that its own steps are wider than a turn, any sine is right, but none beyond 1.
    r = tl.clamp(r, -_HALF_PI, _HALF_PI, propagate_nan=tl.PropagateNan.ALL)
    z = r * r
    return r + r * (z * (_S_3 + z * (_S_5 + z * (_S_7 + z * _S_9))))


@triton.jit
def _odd(whole):
    """Whether whole numbers in float32 are odd."""
    half = whole * 0.5
    return half != tl.floor(half)


@triton.jit
def sine(x):
    """sin x of float32, within 2e-7 for |x| up to 10⁴."""
    half_turns = tl.floor(x * _HALF_TURNS + 0.5)
    s = _sine_within(x, half_turns)
    return tl.where(_odd(half_turns), -s, s)


@triton.jit
def cosine(x):
    """cos x of float32, within 2e-7 for |x| up to 10⁴."""
    whole = tl.floor(x * _HALF_TURNS)
    s = _sine_within(x, whole + 0.5)
    return tl.where(_odd(whole), s, -s)


@triton.jit
def snake_of(x, alpha):
    """x + sin²(α · x) / (α + 1e-9), as the official activation; float32. Squared, a sine needs no sign."""
    angle = x * alpha
    s = _sine_within(angle, tl.floor(angle * _HALF_TURNS + 0.5))
    return x + s * s / (alpha + 1e-9)


@triton.jit
def gelu(x):
    """The exact one, by erf."""
    return 0.5 * x * (1.0 + tl.erf(x * _HALF_ROOT))


@triton.jit
def expm1_below_0(x):
    """exp x − 1 for x up to 0; beyond, anything. Near 0 by its series, so that nothing cancels."""
    near = x * (1.0 + x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24 + x * (1.0 / 120 + x * (1.0 / 720))))))
    return tl.where(x > -0.25, near, tl.exp(tl.minimum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)) - 1.0)


@triton.jit
def sequence_of(
    cu_seqlens,  # i32[S + 1]
    rows,  # tensor of row numbers
    sequences,  # S
    steps,  # ⌈log₂ S⌉: enough halvings for S sequences, none for one
    surplus,  # rows each sequence takes besides its own: sequence s begins at cu_seqlens[s] + s · surplus
):
    """The sequence of each row; rows beyond the last sequence's end count as its own."""
    low = rows * 0
    high = low + sequences
    for _ in range(steps):
        middle = (low + high) // 2
        begun = tl.load(cu_seqlens + middle) + middle * surplus <= rows
        low = tl.where(begun, middle, low)
        high = tl.where(begun, high, middle)
    return low


@triton.jit
def normed_product(
    x_rows,  # pointers[BLOCK_M, 1] to each row's first value
    real,  # bool[BLOCK_M]: which rows there are
    norm_weight,  # f[channels]
    norm_bias,  # f[channels]
    weight,  # f[width, channels]
    column,  # int[BLOCK_N], of the weight's rows
    wide,  # bool[BLOCK_N]: which of them there are
    channels,
    eps,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The layer-normed rows times the weight's columns, float32[BLOCK_M, BLOCK_N].

    Mean and deviation take a pass each over the rows, which the caches serve; each piece is normed on its way in.
    """
    depth = tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_K), dtype=tl.float32)
    for base in range(0, channels, BLOCK_K):
        mask = real[:, None] & (base + depth < channels)[None, :]
        total += tl.load(x_rows + (base + depth)[None, :], mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=1) / channels
    total = tl.zeros((BLOCK_M, BLOCK_K), dtype=tl.float32)
    for base in range(0, channels, BLOCK_K):
        mask = real[:, None] & (base + depth < channels)[None, :]
        value = tl.load(x_rows + (base + depth)[None, :], mask=mask, other=0.0).to(tl.float32)
        away = tl.where(mask, value - mean[:, None], 0.0)
        total += away * away
    deviation = tl.sqrt(tl.sum(total, axis=1) / channels + eps)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for base in range(0, channels, BLOCK_K):
        at = base + depth
        deep = at < channels
        value = tl.load(x_rows + at[None, :], mask=real[:, None] & deep[None, :], other=0.0).to(tl.float32)
        gain = tl.load(norm_weight + at, mask=deep, other=0.0).to(tl.float32)
        offset = tl.load(norm_bias + at, mask=deep, other=0.0).to(tl.float32)
        normed = (value - mean[:, None]) / deviation[:, None] * gain[None, :] + offset[None, :]
        w = tl.load(weight + column[None, :] * channels + at[:, None], mask=deep[:, None] & wide[None, :], other=0.0)
        acc = tl.dot(normed.to(w.dtype), w, acc, input_precision="tf32x3")
    return acc
