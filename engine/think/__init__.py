"""Thinking: the language model over a paged KV cache."""
