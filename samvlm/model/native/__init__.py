"""The source of the fused attention kernel, and what builds it; samvlm/model/native_attention.py runs it."""
