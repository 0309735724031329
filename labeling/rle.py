"""Label Studio's run-length encoding (RLE) of brush masks: reading it, distrusting every byte, and writing it.

The format is thi.ng's ``rle-pack`` (https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack): a bit
stream of a 32-bit count of values, 5 bits of word size - 1, four times 4 bits of a length field's size - 1, and
then blocks: 1 bit (run or literals), 2 bits choosing the size of the length field, the length - 1, and one word for a
run or one word per value for literals. Label Studio stores RGBA, row by row, in 8-bit words.

Label Studio's SDK does both too, but its reader allocates whatever the header asks for (up to 4 GB) and accepts runs
past the end, and importing it costs 2.5 s and 200 MB because pandas and nltk come with it, which nothing here needs.
"""

import numpy as np
import numpy.typing as npt

from labeling.errors import RegionError

CHANNELS = 4
_MAX_BYTES_PER_VALUE = 2  # single values cost 14 bits with the length fields that Label Studio writes
_MAX_HEADER_BYTES = 64  # 53 bits and the padding at the end, generously
_LENGTH_BITS = (3, 4, 8, 16)  # sizes of the length field, as Label Studio writes them


def decode_rle(rle: object, *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Decode the ``rle`` of a brush region.

    Args:
        rle: What Label Studio sent: a list of bytes as integers 0..255.
        height: Height that the mask must have, in pixels.
        width: Width that the mask must have, in pixels.

    Returns:
        RGBA image (height, width, 4), uint8. The mask is in its alpha; strokes have soft edges.

    Raises:
        RegionError: If this is not exactly one RLE of that size. Nothing is allocated before the sizes are checked.
    """
    n_values = height * width * CHANNELS
    bits = _bits(rle, max_bytes=_MAX_BYTES_PER_VALUE * n_values + _MAX_HEADER_BYTES)
    declared = bits.read(32)
    if declared != n_values:
        raise RegionError(f"The RLE declares {declared} values; expected {n_values} ({height} x {width} pixels, RGBA).")
    word_bits = bits.read(5) + 1
    if word_bits != 8:
        raise RegionError(f"The RLE has words of {word_bits} bits; expected 8.")
    length_bits = [bits.read(4) + 1 for _ in range(4)]
    values = bytearray()
    while len(values) < n_values:
        is_run = bits.read(1)
        length = bits.read(length_bits[bits.read(2)]) + 1
        if len(values) + length > n_values:
            raise RegionError(
                f"A block of {length} values at {len(values)} runs past the {n_values} values of the RLE."
            )
        values += bits.read_bytes(1) * length if is_run else bits.read_bytes(length)
    # Whatever follows is padding to a full byte.
    return np.frombuffer(bytes(values), np.uint8).reshape(height, width, CHANNELS)


def encode_rle(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask (height, width) as the ``rle`` of a brush region.

    All four channels are 255 where the mask is True, and 0 elsewhere: Label Studio draws alpha out of 255, so a mask of
    0 and 1 would be there but invisible.
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths: list[int] = (np.diff(starts, append=flat.size) * CHANNELS).tolist()
    painted: list[bool] = flat[starts].tolist()
    header = [f"{flat.size * CHANNELS:032b}", f"{8 - 1:05b}", *(f"{bits - 1:04b}" for bits in _LENGTH_BITS)]
    runs = [_run(length, "1" * 8 if filled else "0" * 8) for length, filled in zip(lengths, painted, strict=True)]
    stream = "".join(header + runs)
    stream += "0" * (8 - len(stream) % 8)  # a whole byte if none is begun, as Label Studio's own library writes it
    return list(int(stream, 2).to_bytes(len(stream) // 8))


def _run(length: int, word: str) -> str:
    """Return the bits of a run, as several blocks if the longest length field is too short for it."""
    longest = 2 ** _LENGTH_BITS[-1]
    blocks = []
    while length > 0:
        part = min(length, longest)
        which, bits = next((which, bits) for which, bits in enumerate(_LENGTH_BITS) if part <= 2**bits)
        blocks.append(f"1{which:02b}{part - 1:0{bits}b}{word}")
        length -= part
    return "".join(blocks)


def _bits(rle: object, *, max_bytes: int) -> "_Bits":
    if not isinstance(rle, list) or not set(map(type, rle)) <= {int}:
        raise RegionError(f"The RLE is {type(rle).__name__}; expected a list of integers 0..255.")
    if len(rle) > max_bytes:
        raise RegionError(f"The RLE has {len(rle)} bytes; a mask of this size needs at most {max_bytes}.")
    try:
        return _Bits(bytes(rle))
    except ValueError as error:
        raise RegionError("The RLE holds an integer outside 0..255.") from error


class _Bits:
    """A bit stream, first bit highest, that refuses to read past its end."""

    def __init__(self, data: bytes) -> None:
        # One character per bit: slicing a string is the fastest random access to bits that plain Python has.
        self._bits = format(int.from_bytes(data), f"0{8 * len(data)}b") if data else ""
        self._position = 0

    def read(self, n_bits: int) -> int:
        end = self._position + n_bits
        if end > len(self._bits):
            raise RegionError(f"The RLE ends at bit {len(self._bits)}, in the middle of a block; it was cut off.")
        value = int(self._bits[self._position : end], 2)
        self._position = end
        return value

    def read_bytes(self, n_bytes: int) -> bytes:
        return self.read(8 * n_bytes).to_bytes(n_bytes)
