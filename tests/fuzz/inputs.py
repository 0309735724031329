"""Inputs for the readers: valid data with a few bytes changed, cut, repeated or put elsewhere."""

from hypothesis import strategies as st

_TELLING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"[" * 5000,
    b'{"a":' * 200,
    b"1e999",
    b"NaN",
    b"-1",
)


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Draw damaged data."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 16))
        match draw(st.sampled_from(("replace", "insert", "telling", "cut", "repeat", "head", "tail"))):
            case "replace":
                new = draw(st.binary(min_size=1, max_size=8))
                data[place : place + len(new)] = new
            case "head":  # sizes and offsets stand at the beginning of most formats
                data[draw(st.integers(0, min(255, max(0, len(data) - 1))))] = draw(st.integers(0, 255)) if data else 0
            case "tail":  # and at the end of archives
                data[-draw(st.integers(1, max(1, min(255, len(data)))))] = draw(st.integers(0, 255))
            case "insert":
                data[place:place] = draw(st.binary(max_size=32))
            case "telling":
                new = draw(st.sampled_from(_TELLING))
                data[place : place + draw(st.sampled_from((0, len(new))))] = new
            case "cut":
                del data[place : place + length * length]
            case _:
                data[place:place] = data[place : place + length]
        if not data:
            break
    return bytes(data)
