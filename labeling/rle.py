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
_HEADER_BITS = 53
_MAX_HEADER_BYTES = 64  # these and the padding at the end, generously
_PADDING = 5  # bytes
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
    data = _to_bytes(rle, max_bytes=_MAX_BYTES_PER_VALUE * n_values + _MAX_HEADER_BYTES)
    length_bits, position = _read_header(data, n_values, height, width)
    n_bits = 8 * len(data)
    data += bytes(_PADDING)  # so that a block that begins before the end can be read without looking for it
    windows = _windows(data)
    # How to find, in a window, the length of a block, and what it means: where, with which bits, where the word is.
    fields = [(37 - size, (1 << size) - 1, 29 - size, 3 + size) for size in length_bits]
    lengths: list[int] = []
    words = bytearray()
    total = 0
    while total < n_values:
        window = windows[position >> 3] << (position & 7)
        at, mask, word_at, size = fields[window >> 37 & 3]
        length = (window >> at & mask) + 1
        if total + length > n_values:
            raise RegionError(f"A block of {length} values at {total} runs past the {n_values} values of the RLE.")
        total += length
        position += size
        if window >> 39 & 1:
            lengths.append(length)
            words.append(window >> word_at & 255)
            position += 8
        else:
            end = position + 8 * length
            literals = int.from_bytes(data[position >> 3 : (end + 7) >> 3]) >> (-end & 7)
            lengths += [1] * length
            words += (literals & (1 << 8 * length) - 1).to_bytes(length)
            position = end
        if position > n_bits:
            raise RegionError(f"The RLE ends at bit {n_bits}, in the middle of a block; it was cut off.")
    # Whatever follows is padding to a full byte.
    return np.repeat(np.frombuffer(words, np.uint8), lengths).reshape(height, width, CHANNELS)


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


def _to_bytes(rle: object, *, max_bytes: int) -> bytes:
    if not isinstance(rle, list) or not set(map(type, rle)) <= {int}:
        raise RegionError(f"The RLE is {type(rle).__name__}; expected a list of integers 0..255.")
    if len(rle) > max_bytes:
        raise RegionError(f"The RLE has {len(rle)} bytes; a mask of this size needs at most {max_bytes}.")
    try:
        return bytes(rle)
    except ValueError as error:
        raise RegionError("The RLE holds an integer outside 0..255.") from error


def _windows(data: bytes) -> memoryview:
    """Return the 40 bits that begin at each byte as integers, for fast access.

    A block's type, length and word have 3 + 16 + 8 bits at most, and begin anywhere in a byte.
    """
    octets = np.frombuffer(data, np.uint8).astype(np.int64)
    found = octets[:-4]
    for offset in range(1, 5):
        found = found << 8 | octets[offset : len(octets) - 4 + offset]
    return found.data


def _read_header(data: bytes, n_values: int, height: int, width: int) -> tuple[list[int], int]:
    """Return the sizes of the four length fields, and the position of the first block, in bits."""
    if 8 * len(data) < _HEADER_BITS:
        raise RegionError(f"The RLE ends at bit {8 * len(data)}, in the middle of its header; it was cut off.")
    header = int.from_bytes(data[:7]) >> 56 - _HEADER_BITS
    declared = header >> 21
    if declared != n_values:
        raise RegionError(f"The RLE declares {declared} values; expected {n_values} ({height} x {width} pixels, RGBA).")
    word_bits = (header >> 16 & 31) + 1
    if word_bits != 8:
        raise RegionError(f"The RLE has words of {word_bits} bits; expected 8.")
    return [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)], _HEADER_BITS
