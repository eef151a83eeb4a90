"""The error viewer as a file: what is in it, that nothing in it can run, and that it stays small."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import html
from PIL import Image

from samvlm.data.tables import Table
from samvlm.evaluation.examples import Example, table_buckets
from samvlm.evaluation.viewer import write_viewer
from samvlm.evaluation.viewer.comparison import MOST_CELLS, compare
from samvlm.evaluation.viewer.differences import mark_differences
from samvlm.evaluation.viewer.example import show_score

HOSTILE = "</script></td><script>alert(1)</script><img src=x onerror=alert(1)>\u2028\"'`"
TRUTH = Table.from_rows([["a", "b"], ["0.05*", "x"], ["c", "d"]], 1).to_html()
SCORES = {
    "model": "tiny",
    "n": 2,
    "metrics": {"teds": {"mean": 0.75, "low": 0.5, "high": 0.9, "n": 2}, "cer": {"mean": 0.1}},
    "rates": {"valid": 0.5},
    "buckets": {"spans": {"simple": {"n": 2, "teds": 0.75, "intervals": {}}}},
    "left_out": [{"where": "x:1", "reason": "broken"}],
}


def an_example(name: str = "one", score: float | None = 0.5, **changes) -> Example:
    """An example whose prediction misses the last row and has another text in one cell."""
    prediction = Table.from_rows([["a", "b"], ["0.05", "x"]], 1).to_html()
    values = {
        "image": None,
        "truth_html": TRUTH,
        "prediction_html": prediction,
        "scores": {} if score is None else {"teds": score},
        "buckets": table_buckets(TRUTH),
    }
    return Example(name, **(values | changes))


def viewer(tmp_path: Path, *examples: Example, scores: dict | None = None, **options) -> html.HtmlElement:
    path = tmp_path / "viewer.html"
    write_viewer(path, iter(examples), "A title", SCORES if scores is None else scores, **options)
    return html.document_fromstring(path.read_bytes())


def texts(root: html.HtmlElement, path: str) -> list[str]:
    return [element.text_content() for element in root.xpath(path)]


def facts_of(root: html.HtmlElement) -> list[dict]:
    return json.loads(root.xpath("string(//script[@id='facts'])"))


def picture(width: int = 60, height: int = 30) -> Image.Image:
    return Image.effect_noise((width, height), 90).convert("RGB")


def test_head_names_scores_rates_and_buckets(tmp_path):
    root = viewer(tmp_path, an_example())
    head = root.xpath("//header[@class='top']")[0].text_content()
    for part in (
        "A title",
        "model tiny",
        "teds",
        "0.750",
        "0.500 to 0.900",
        "lower is better",
        "valid 50.0%",
        "simple",
    ):
        assert part in head, part
    assert "1 entries of the data could not be read" in head
    assert set(root.xpath("//select/@name")) >= {"sort", "ending", "verdict"}


def test_cells_are_coloured_signed_and_marked(tmp_path):
    root = viewer(tmp_path, an_example())
    (truth,) = root.xpath("//section[@class='truth']")
    (prediction,) = root.xpath("//section[@class='prediction']")
    assert texts(truth, ".//td[contains(@class, 'text')]") == ["~0.05*"]
    assert texts(truth, ".//td[contains(@class, 'text')]/mark") == ["*"]
    assert texts(truth, ".//td[contains(@class, 'missing')]") == ["−c", "−d"]
    assert texts(prediction, ".//td[contains(@class, 'text')]") == ["~0.05"]
    assert not prediction.xpath(".//mark")
    assert truth.xpath(".//td[contains(@class, 'text')]/i/@aria-label") == ["another text"]
    (pair,) = {td.get("class").split()[0] for td in root.xpath("//td[contains(@class, ' text')]")}
    assert root.xpath("//li[@data-cell]/@data-cell")[0] == pair
    assert texts(root, "//ul[@class='wrong']/li")[0] == "~row 2, column 1 0.05* → 0.05"
    assert facts_of(root)[0]["verdicts"] == [1, 0, 2, 0]
    assert "3 × 2 in the truth, 2 × 2 in the prediction" in root.xpath("string(//p[@class='remark'])")


def test_spans_say_what_they_are():
    truth = "<table><tr><td colspan=2>a</td></tr><tr><td>b</td><td>c</td></tr></table>"
    prediction = "<table><tr><td>a</td><td></td></tr><tr><td>b</td><td>c</td></tr></table>"
    shown = compare(an_example(truth_html=truth, prediction_html=prediction))
    assert shown.counts == {"text": 0, "span": 1, "missing": 0, "extra": 1}
    assert "1×2 → 1×1" in shown.items[0]


def test_equal_cells_with_a_flawed_score_are_explained():
    shown = compare(an_example(score=0.9, prediction_html=TRUTH))
    assert not any(shown.counts.values()) and "Every cell is read as in the truth" in shown.remarks[0]
    assert not compare(an_example(score=1.0, prediction_html=TRUTH)).remarks


def test_structure_only_truths_do_not_count_texts():
    empty = Table.from_rows([["", ""], ["", ""]], 0).to_html()
    full = Table.from_rows([["a", "b"], ["c", "d"]], 0).to_html()
    shown = compare(an_example(truth_html=empty, prediction_html=full))
    assert not any(shown.counts.values()) and "only the structure" in shown.remarks[0]


@pytest.mark.parametrize(
    ("prediction", "text", "says"),
    [("", "", "nothing was answered"), ("<p>no</p>", "I see no <table>", "I see no &lt;table&gt;")],
)
def test_answers_without_a_table_are_shown_as_they_are(prediction: str, text: str, says: str):
    shown = compare(an_example(prediction_html=prediction, prediction_text=text))
    assert says in shown.prediction and shown.counts["missing"] == 6


def test_texts_are_compared_by_character():
    example = Example(
        "t", None, "", "", {"cer": 0.2}, task="text", truth_text="page 12", prediction_text="page 13"
    )
    shown = compare(example)
    assert "page 1<mark>2</mark>" in shown.truth and "page 1<mark>3</mark>" in shown.prediction


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        ("a b", "ab", ("a<mark>␣</mark>b", "ab")),
        ("e\u0301t", "et", ("<mark>e\u0301</mark>t", "<mark>e</mark>t")),
        ("abc", "xyz", ("abc", "xyz")),
        ("", "xyz", ("", "xyz")),
        ("a<b", "a<c", ("a&lt;<mark>b</mark>", "a&lt;<mark>c</mark>")),
        ("x" * 9000, "x" * 9001, ("x" * 9000, "x" * 9001)),
    ],
)
def test_marks(prediction: str, truth: str, expected: tuple[str, str]):
    assert mark_differences(prediction, truth) == expected


def test_nothing_hostile_becomes_markup(tmp_path):
    bad = Table.from_rows([[HOSTILE, "\u202eb"], [HOSTILE[::-1], "x"]], 1).to_html()
    examples = [
        an_example(HOSTILE, truth_html=bad, prediction_html=bad.replace("alert", "alort"), error=HOSTILE),
        an_example(
            HOSTILE, float("nan"), prediction_html=HOSTILE, finish_reason=HOSTILE, image=Path(HOSTILE)
        ),
        an_example("\ud800", scores={HOSTILE: 0.5}, prediction_html="", prediction_text=HOSTILE * 9000),
        an_example("b", buckets={"spans": HOSTILE}),
        Example(
            "q",
            None,
            "",
            "",
            task="question",
            question=HOSTILE,
            truth_text=HOSTILE,
            prediction_text=HOSTILE[:-3],
        ),
    ]
    scores = {
        HOSTILE: HOSTILE,
        "metrics": {HOSTILE: {"mean": None, "low": float("nan"), "high": 1.0}},
        "meaning": {HOSTILE: HOSTILE},
        "rates": {HOSTILE: 0.1},
        "buckets": {HOSTILE: {HOSTILE: {"n": 1}}},
    }
    path = tmp_path / "viewer.html"
    write_viewer(path, examples, HOSTILE, scores)
    root = html.document_fromstring(path.read_bytes())
    assert [script.get("type") for script in root.iter("script")] == ["application/json", None]
    assert not root.xpath("//img | //iframe | //a[not(starts-with(@href, '#x:'))]")
    assert not [name for element in root.iter("*") for name in element.attrib if name.startswith("on")]
    assert len(facts_of(root)) == 5
    names = root.xpath("//article/@id")
    assert len(set(names)) == 5 and root.xpath("//h3/a/@href") == [f"#{name}" for name in names]
    assert root.xpath("string(//p[@class='question'])").startswith("</script></td><script>alert(1)")


def test_worst_come_first_and_ties_keep_their_order(tmp_path):
    given = [("a", 0.5), ("b", None), ("c", 0.1), ("d", 0.5), ("e", float("nan")), ("f", -0.2)]
    root = viewer(tmp_path, *(an_example(name, score) for name, score in given))
    assert root.xpath("//article/@id") == [f"x:{name}" for name in "befcad"]
    assert [fact["scores"].get("teds") for fact in facts_of(root)] == [None, None, -0.2, 0.1, 0.5, 0.5]


def test_of_errors_the_highest_is_worst(tmp_path):
    examples = [
        an_example(name, scores={"cer": score}) for name, score in (("a", 0.1), ("b", 2.0), ("c", 0.5))
    ]
    root = viewer(tmp_path, *examples, scores={"metrics": {"cer": {"mean": 0.9}}})
    assert root.xpath("//article/@id") == ["x:b", "x:c", "x:a"]
    assert root.xpath("//form/@data-lower") == ["cer"]


def test_only_the_worst_are_kept_and_the_page_says_so(tmp_path):
    drawn = []

    def stream() -> Iterator[Example]:
        for number in range(40):
            yield an_example(
                str(number), (number * 7 % 40) / 40, image=lambda n=number: drawn.append(n) or picture()
            )

    path = tmp_path / "viewer.html"
    report = write_viewer(path, stream(), "A title", SCORES, most=5)
    root = html.document_fromstring(path.read_bytes())
    worst = sorted(range(40), key=lambda n: n * 7 % 40)[:5]
    assert root.xpath("//article/@id") == [f"x:{n}" for n in worst] and drawn == worst
    assert (report.shown, report.left_out) == (5, 35)
    assert "The 5 worst examples are shown, 35 others are left out." in root.text_content()


def test_images_wait_in_json_until_they_are_seen(tmp_path):
    file = tmp_path / "a.png"
    picture(2000, 500).save(file)
    root = viewer(tmp_path, an_example(image=file))
    (image,) = root.xpath("//figure/img")
    assert image.get("src") is None and (image.get("width"), image.get("height")) == ("1000", "250")
    uri = json.loads(root.xpath("string(//figure/script)"))
    assert Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size == (1000, 250)
    assert root.xpath("string(//figcaption)") == "2,000 × 500 pixels, shown at 50%"


def test_a_small_budget_shrinks_images_then_leaves_them_out(tmp_path):
    def examples(number: int) -> Iterator[Example]:
        return (an_example(str(n), n / 100, image=lambda: picture(720, 240)) for n in range(number))

    path = tmp_path / "viewer.html"
    report = write_viewer(path, examples(6), "t", SCORES, file_bytes=400_000)
    assert report.shown == 6 and report.smaller_images and path.stat().st_size < 450_000
    report = write_viewer(path, examples(12), "t", SCORES, file_bytes=250_000)
    assert report.shown == 12 and report.images_left_out and path.stat().st_size < 300_000
    root = html.document_fromstring(path.read_bytes())
    assert f"{report.images_left_out} images are left out to keep the file small." in root.text_content()
    left = ["left out" in text for text in texts(root, "//figure")]
    assert left == sorted(left), "the worst examples keep their images"


def test_much_markup_leaves_out_the_best(tmp_path):
    path = tmp_path / "viewer.html"
    report = write_viewer(
        path, (an_example(str(n), n / 100) for n in range(100)), "t", SCORES, file_bytes=40_000
    )
    assert 0 < report.shown < 100 and report.shown + report.left_out == 100
    assert path.stat().st_size < 70_000  # style and script take part of it


@pytest.mark.parametrize("image", [lambda: 1 / 0, Path("no/such.png"), lambda: None])
def test_a_broken_image_costs_only_itself(tmp_path, image):
    path = tmp_path / "viewer.html"
    report = write_viewer(path, [an_example("a", image=image), an_example("b", image=picture)], "t", SCORES)
    assert (report.shown, report.broken_images) == (2, 1)
    assert "the image cannot be shown" in path.read_text()


def test_large_tables_are_cut_and_the_rest_is_counted():
    rows = MOST_CELLS // 2 + 10
    large = Table.from_rows([["a", "b"]] * rows).to_html()
    shown = compare(an_example(truth_html=large, prediction_html=TRUTH))
    assert (
        shown.truth.count("<tr>") == MOST_CELLS // 2 + 1
        and f"10 of {rows:,} rows are not drawn" in shown.truth
    )


def test_same_ids_get_different_anchors(tmp_path):
    root = viewer(tmp_path, *(an_example(name) for name in ("a b", "a b", "a b+2", "")))
    assert root.xpath("//article/@id") == ["x:a%20b", "x:a%20b+2", "x:a%20b%2B2", "x:"]


def test_no_examples_and_no_scores_still_make_a_page(tmp_path):
    root = viewer(tmp_path, scores={})
    assert root.xpath("//main/*") == [] and facts_of(root) == []


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "viewer.html"
    path.write_text("old")

    def stream() -> Iterator[Example]:
        yield an_example()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_viewer(path, stream(), "t", SCORES)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (1.0, "1.000"),
        (0.99996, "0.99996"),
        (0.5, "0.500"),
        (-0.006, "-0.006"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_scores_never_look_better_than_they_are(score: float | None, text: str):
    assert show_score(score) == text
