"""Two 4-bit codes in a byte, as XNNPACK keeps them: the even column in the LOW nibble, each code shifted by 8.

Knows only bytes: no scale, no layer.
"""

import torch


def pack_int4(codes_NK: torch.Tensor) -> torch.Tensor:
    """int8 codes -8..7 [N, K] to uint8 [N, K/2].

    Raises:
        ValueError: K is odd, the type is not int8, or a code is out of range.
    """
    if codes_NK.dtype != torch.int8 or codes_NK.dim() != 2 or codes_NK.shape[1] % 2:
        raise ValueError(f"can pack an int8 matrix with an even width, not {codes_NK.dtype} {list(codes_NK.shape)}")
    if codes_NK.numel() and (int(codes_NK.min()) < -8 or int(codes_NK.max()) > 7):
        raise ValueError(f"codes reach from {int(codes_NK.min())} to {int(codes_NK.max())}; 4 bits hold -8 to 7")
    shifted = (codes_NK + 8).view(torch.uint8)
    return shifted[:, 0::2] | (shifted[:, 1::2] << 4)


def unpack_int4(packed_NH: torch.Tensor) -> torch.Tensor:
    """uint8 [N, K/2] (or any number of leading dimensions) to int8 codes -8..7 [N, K].

    Raises:
        ValueError: the type is not uint8.
    """
    if packed_NH.dtype != torch.uint8:
        raise ValueError(f"packed codes are uint8, not {packed_NH.dtype}")
    pairs = torch.stack((packed_NH & 15, packed_NH >> 4), dim=-1)
    return pairs.flatten(-2).view(torch.int8) - 8
