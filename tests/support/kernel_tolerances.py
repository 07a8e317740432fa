"""The one table of kernel tolerances: largest difference from the reference in float64, over its largest value.

Where an operation computes in float32, the figure is a few of its roundings: one is 6e-8. Where it writes bfloat16, the
last rounding alone is 2⁻⁹ = 2e-3 of a value. Operations whose result is a choice (an id, a code) have no row: equal.
"""

KERNEL_TOLERANCE: dict[tuple[str, str], float] = {
    # Sums of products in float32: at most some hundreds of terms in the tests.
    ("packed_conv1d", "float32"): 2e-6,
    ("packed_conv1d", "bfloat16"): 4e-3,  # the last rounding
    ("packed_conv_transpose1d", "float32"): 2e-6,
    ("packed_upsample", "float32"): 2e-6,
    ("residual_blocks", "float32"): 5e-6,  # four such sums, one after another
    ("conv_norm_mish", "float32"): 3e-6,  # such a sum, over its deviation
    ("conv_norm_mish", "bfloat16"): 4e-3,  # the last rounding: sums stay float32 until then
    ("feed_forward_gelu", "float32"): 2e-6,
    ("feed_forward_gelu", "bfloat16"): 1e-2,  # normalised rows, inner values and result are rounded
    ("istft_head", "float32"): 2e-6,  # three sines and an exponential of float32 a term
    ("packed_stft", "float32"): 1e-6,
    ("harmonic_source", "float32"): 2e-6,  # an angle of up to 10 rounds by 5e-7
    ("counter_normal", "float32"): 5e-7,  # the draws are equal; logarithm, root and cosine round
    ("guided_euler_step", "float32"): 5e-7,
    # Scores, weights and their sums in float32; in bfloat16 the weights are rounded too.
    ("paged_attention", "float32"): 2e-6,
    ("paged_attention", "bfloat16"): 8e-3,
    ("varlen_attention", "float32"): 2e-6,
    ("varlen_attention", "bfloat16"): 8e-3,
    ("relative_attention", "float32"): 2e-6,
    ("relative_attention", "bfloat16"): 1.6e-2,  # queries with their biases are rounded as well
    ("rms_norm", "float32"): 5e-7,
    ("rms_norm", "bfloat16"): 4e-3,  # the last rounding
    ("swiglu", "float32"): 5e-7,
    ("swiglu", "bfloat16"): 4e-3,
    ("rope_paged_write", "float32"): 2e-7,
    ("rope_paged_write", "bfloat16"): 4e-3,
    ("layer_norm_linear", "float32"): 2e-6,
    ("layer_norm_linear", "bfloat16"): 1e-2,  # normalised rows and result are rounded
}
