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
    starts = _block_starts(windows.data, length_bits, position, n_bits)
    head = windows[starts >> 3] << (starts & 7)
    size = np.array(length_bits)[head >> 37 & 3]
    counted = (head >> 37 - size & (1 << size) - 1) + 1
    ends = np.cumsum(counted)
    blocks = int(np.searchsorted(ends, n_values)) + 1  # whatever follows is padding to a full byte
    if blocks > len(ends):
        raise RegionError(f"The RLE ends at bit {n_bits}, in the middle of a block; it was cut off.")
    if ends[blocks - 1] > n_values:
        begun = int(ends[blocks - 1] - counted[blocks - 1])
        found = int(counted[blocks - 1])
        raise RegionError(f"A block of {found} values at {begun} runs past the {n_values} values of the RLE.")
    is_run = (head >> 39 & 1 == 1)[:blocks]
    counted = counted[:blocks]
    n_words = np.where(is_run, 1, counted)
    within = np.arange(int(n_words.sum())) - np.repeat(np.cumsum(n_words) - n_words, n_words)
    at = np.repeat((starts + 3 + size)[:blocks], n_words) + 8 * within
    words = (windows[at >> 3] >> 32 - (at & 7) & 255).astype(np.uint8)
    return np.repeat(words, np.repeat(np.where(is_run, counted, 1), n_words)).reshape(height, width, CHANNELS)


def _block_starts(windows: memoryview, length_bits: list[int], position: int, n_bits: int) -> npt.NDArray[np.int64]:
    """Return the bit at which each block begins that ends before `n_bits`.

    A block's place follows from that before it, so this is a loop; all else is left to numpy.
    """
    steps = [0] * 4 + [3 + size + 8 for size in length_bits]  # by type and length field; literals are longer
    starts: list[int] = []
    add = starts.append
    while position < n_bits:
        window = windows[position >> 3] >> 37 - (position & 7)
        step = steps[window & 7]
        if not step:
            size = length_bits[window & 3]
            whole = windows[position >> 3] << (position & 7)
            step = 3 + size + 8 * ((whole >> 37 - size & (1 << size) - 1) + 1)
        add(position)
        position += step
    if position > n_bits:
        starts.pop()
    return np.array(starts, np.int64)


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


def _windows(data: bytes) -> npt.NDArray[np.int64]:
    """Return the 40 bits that begin at each byte as integers.

    A block's type, length and word have 3 + 16 + 8 bits at most, and begin anywhere in a byte.
    """
    octets = np.frombuffer(data, np.uint8).astype(np.int64)
    found = octets[:-4]
    for offset in range(1, 5):
        found = found << 8 | octets[offset : len(octets) - 4 + offset]
    return found


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
