import html

import pytest
from markdown_it import MarkdownIt

from pneumo_batch.report import parts


def test_number():
    assert parts.number(0.12345) == "0.123"
    assert parts.number(-0.5) == "−0.500"
    assert parts.number(-0.0004) == parts.number(3e-07) == "0.000"
    assert parts.number(-0.0006) == "−0.001"
    assert parts.number(parts.Small(3e-07)) == "< 0.001"
    assert parts.number(parts.Small(0.0143)) == "0.014"
    assert parts.number(parts.Rate(3e-4)) == "0.0003"
    assert parts.number(parts.Rate(1.5e-6)) == "1.5e−06"
    assert parts.number(0.0) == "0.000"
    assert parts.number(7) == "7"
    assert parts.number(float("nan")) == parts.number(None) == "–"


def test_signs():
    assert parts.signs("-0.1 (-0.2 to -0.05)") == "−0.1 (−0.2 to −0.05)"
    kept = "2026-11-27, top-10, person-1, a - 1, X-ray/-1.png"
    assert parts.signs(kept) == kept


def test_shortened():
    assert parts.shortened("module:function", 15) == "module:function"
    assert parts.shortened("module:function", 8) == "modu…ion"
    assert len(parts.shortened("module:function", 9)) == 9


def test_slug():
    assert parts.slug("Pleural Thickening") == parts.slug("pleural_thickening!") == "pleural_thickening"
    assert parts.slug("integrated_gradients@blur") == "integrated_gradients_blur"
    assert [parts.slug(name) for name in ("肺炎", "Норма", "Œdème")] == ["肺炎", "норма", "œdème"]


def test_names_that_are_alike_are_numbered_in_the_order_of_the_page():
    def table(name):
        return parts.Table(name, "", ["a"], [["b"]])

    inner = parts.Fold("", [table("a"), parts.Side([parts.Picture("a", b"", ""), table("a")]), parts.Text("a")])
    sections = [parts.Section("one", "", [table("a"), inner]), parts.Section("two", "", [table("a_2"), table("a")])]
    first, second = parts.distinct(sections)
    named = [[b.name for b in parts.walk(s.blocks) if isinstance(b, parts.Table)] for s in (first, second)]
    assert named == [["a", "a_3", "a_4"], ["a_2", "a_5"]]
    assert [b.name for b in parts.walk(first.blocks) if isinstance(b, parts.Picture)] == ["a"]
    assert parts.distinct([first, second]) == [first, second]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            "true_0 of person1_bacteria_2.jpeg, 25 % (0.1 to 0.2)",
            "true_0 of person1_bacteria_2.jpeg, 25 % (0.1 to 0.2)",
        ),
        ("![](http://evil/p.png)", r"\!\[\](http://evil/p.png)"),
        ("[here](javascript:alert(1))", r"\[here\](javascript:alert(1))"),
        ("**b** _i_ __b__ a_i_", r"\*\*b\*\* \_i\_ \_\_b\_\_ a_i\_"),
        ("# a\n# b | `c` ~~d~~", r"\# a \# b \| \`c\` \~\~d\~\~"),
        ("\\[a] <b> &", r"\\\[a\] &lt;b&gt; &amp;"),
    ],
)
def test_nothing_from_outside_is_markup_in_markdown(text, written):
    assert parts.markdown(text) == written
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])  # rich brings it
    shown = html.escape(" ".join(text.split()), quote=False)
    assert reader.render(f"- {written}") == f"<ul>\n<li>{shown}</li>\n</ul>\n"
