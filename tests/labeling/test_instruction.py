from labeling.instruction import write_instruction


def test_it_names_what_to_outline_and_what_unpainted_means() -> None:
    text = write_instruction(["clean ice", "debris-covered ice"], "background", "masked/unknown")
    assert text.startswith("Outline <b>clean ice</b> and <b>debris-covered ice</b>. Click a small picture")
    assert "leave unpainted is taken as <b>background</b>" in text
    assert "Where a part of the patch is outlined and the rest dark, judge only that part" in text
    assert "cannot tell as <b>masked/unknown</b>" in text


def test_one_and_three_classes_read_well() -> None:
    assert write_instruction(["lake"], "land", "cloud").startswith("Outline <b>lake</b>. ")
    assert write_instruction(["a", "b", "c"], "land", "cloud").startswith("Outline <b>a</b>, <b>b</b> and <b>c</b>. ")


def test_names_are_text_not_markup() -> None:
    assert "<b>rock &amp; &lt;i&gt;ice</b>" in write_instruction(["rock & <i>ice"], "land", "cloud")


def test_examples_are_pictures_with_captions() -> None:
    text = write_instruction(["ice"], "land", "cloud", examples={"Ice & <snow>": "http://al.example/static/a.png?b&c"})
    assert '<img src="http://al.example/static/a.png?b&amp;c" alt=""><br>Ice &amp; &lt;snow&gt;' in text
    assert "<img" not in write_instruction(["ice"], "land", "cloud")
