from html.parser import HTMLParser

from labeling.views_panel import Picture, write_panel

BASE = Picture("true-colour", "True colour", "red, green, blue", "http://al/t.png?signature=a.b")
OTHER = Picture("hillshade", "Hill <shade>", 'light from the "north-west"', "http://al/h.png?signature=c&d")
AROUND = Picture("surroundings", "Surroundings", "The patch is framed.", "http://al/s.png?signature=e")


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


def test_choosing_a_view_puts_it_beneath_the_drawing():
    text = write_panel([BASE, OTHER], AROUND, {})
    assert "body:has(#glacier-view-hillshade[open]) .glacier-drawing .lsf-image canvas" in text
    assert f'{{background-image:url("{OTHER.url}")}}' in text
    assert "glacier-view-true-colour" not in text  # it shows while no other is chosen
    (view,) = [item for item in Tags(text).of("details") if item.get("class") == "glacier-view"]
    assert (view["id"], view["name"]) == ("glacier-view-hillshade", "glacier-view")
    assert [picture["src"] for picture in Tags(text).of("img")] == [BASE.url, OTHER.url, AROUND.url]


def test_texts_are_text_and_nothing_runs():
    text = write_panel([BASE, OTHER], None, {"a <map>": 'http://al/?"x'})
    assert "Hill &lt;shade&gt;" in text
    assert "a &lt;map&gt;" in text
    assert "<script" not in text
    assert not [name for _, attributes in Tags(text).found for name in attributes if name.startswith("on")]


def test_links_open_beside_the_page_and_do_not_tell_where_they_were_clicked():
    (link,) = Tags(write_panel([BASE], None, {"OpenStreetMap": "https://osm.example/#map=1"})).of("a")
    assert link == {"href": "https://osm.example/#map=1", "target": "_blank", "rel": "noopener noreferrer"}
