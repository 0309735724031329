from labeling.instruction import write_instruction


def test_it_names_what_to_outline_and_what_unpainted_means() -> None:
    text = write_instruction(["clean ice", "debris-covered ice"], "background", "masked/unknown")
    assert text.startswith("Outline <b>clean ice</b> and <b>debris-covered ice</b> in the <b>true-colour</b> view")
    assert "leave unpainted is taken as <b>background</b>" in text
    assert "Where a part of the patch is outlined and the rest dark, judge only that part" in text
    assert "cannot tell as <b>masked/unknown</b>" in text


def test_one_and_three_classes_read_well() -> None:
    assert write_instruction(["lake"], "land", "cloud").startswith("Outline <b>lake</b> in")
    assert write_instruction(["a", "b", "c"], "land", "cloud").startswith("Outline <b>a</b>, <b>b</b> and <b>c</b> in")


def test_names_are_text_not_markup() -> None:
    assert "<b>rock &amp; &lt;i&gt;ice</b>" in write_instruction(["rock & <i>ice"], "land", "cloud")
