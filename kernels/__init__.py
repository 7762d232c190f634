"""Attention for hosts in C++, under ExecuTorch's operator names, so that the same file runs faster."""
