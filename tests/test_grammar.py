"""The OTSL grammar: whatever the logits, the output is a valid table; and closing what was cut off."""

import random

import pytest
import torch
from random_tables import random_table
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LogitsProcessor, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from samvlm.data.otsl import TOKENS
from samvlm.data.tables import Table
from samvlm.grammar import GrammarLimits, OTSLGrammar, OTSLVocabulary, close_otsl

# multi-character pieces among them, some of which could spell or complete a literal token
PIECES = [*"abefclnruxdshow012.<>\\ \n", "<fc", "el>", "nl>", "<n", "l>", "<nl>x", "Ġ<", "<0x3C>", "é"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {
        piece: number for number, piece in enumerate(["<pad>", "<eos>", "<image>", "<unk>", *PIECES])
    }
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    made.add_tokens([AddedToken(token, normalized=False) for token in TOKENS])
    made.add_tokens(AddedToken("<image>", special=True, normalized=False), special_tokens=True)
    return made


def decode(tokenizer, ids) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return text.replace("Ġ", " ").replace("<0x3C>", "<")


def sample(grammar, rows, size, steps, prompt, generator, bias=None, scale=3.0):
    """Sample from random logits, as generate does: (rows, prompt + steps) ids, padded with 0 after the end."""
    ids = torch.full((rows, prompt), 5)
    done = torch.zeros(rows, dtype=torch.bool)
    for _ in range(steps):
        scores = torch.randn(rows, size, generator=generator) * scale + (0 if bias is None else bias)
        masked = grammar(ids, scores)
        token = torch.multinomial(masked.softmax(-1), 1, generator=generator)[:, 0]
        token[done] = 0
        done |= token == 1
        ids = torch.cat([ids, token[:, None]], 1)
        if done.all():
            break
    return ids, done


def check(tokenizer, ids) -> Table:
    text = decode(tokenizer, ids)
    table = Table.from_otsl(text)
    assert table.repairs == [], text
    assert close_otsl(text) == (text, False)
    return table


@pytest.mark.parametrize(
    ("favour", "budget"), [(None, 60), ("spans", 200), ("text", 40), ("rows", 120), ("literal", 60)]
)
def test_random_logits_give_valid_tables(tokenizer, favour, budget):
    size = len(tokenizer) + 3  # padded embeddings
    bias = torch.zeros(size)
    ids = dict(zip(TOKENS, tokenizer.convert_tokens_to_ids(list(TOKENS)), strict=True))
    if favour == "spans":
        bias[[ids["<lcel>"], ids["<ucel>"], ids["<xcel>"]]] = 4
    elif favour == "text":
        bias[: ids["<fcel>"]] = 3
    elif favour == "rows":
        bias[ids["<nl>"]] = 5
    elif favour == "literal":  # "<", "n", "l>" and the like, over and over
        bias[
            tokenizer.convert_tokens_to_ids(["<", "<n", "<fc", "f", "c", "e", "l", "nl>", "el>", "l>", ">"])
        ] = 6
    generator = torch.Generator().manual_seed(0)
    spanning = literal = truncated = 0
    for prompt in (0, 3, 7):
        grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=prompt, max_new_tokens=budget)
        output, done = sample(grammar, 400, size, budget, prompt, generator, bias)
        assert done.all()  # complete within the budget
        for row in output:
            table = check(tokenizer, row[prompt:])
            spanning += any(cell.rowspan > 1 and cell.colspan > 1 for cell in table.cells)
            literal += any("<n" in cell.text for cell in table.cells)
            truncated += grammar.truncated(row)
    assert truncated > 10
    if favour == "spans":
        assert spanning > 100
    if favour == "literal":
        assert literal > 100


def test_caps_and_what_they_flag(tokenizer):
    size = len(tokenizer)
    bias = torch.zeros(size)
    bias[1] = -20  # never ends by itself
    generator = torch.Generator().manual_seed(1)
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0, max_rows=4, max_cols=3, max_cell_chars=5)
    output, done = sample(grammar, 300, size, 400, 0, generator, bias)
    assert done.all()
    shapes = set()
    for row in output:
        table = check(tokenizer, row)
        shapes.add((table.n_rows, table.n_cols))
        assert table.n_rows == 4 and table.n_cols <= 3
        assert all(len(cell.text) < 5 + max(map(len, PIECES)) for cell in table.cells)
        assert grammar.truncated(row)
    assert len(shapes) == 3


def test_a_table_that_ends_by_itself_is_not_flagged(tokenizer):
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=2, max_new_tokens=30)
    ids = tokenizer("<ched>a<lcel><nl><fcel>b<ecel><nl><eos>", add_special_tokens=False)["input_ids"]
    assert not grammar.truncated([0, 0, *ids])
    assert not grammar.truncated(torch.tensor([0, 0, *ids, 0, 0]))
    assert grammar.truncated([0, 0, *ids[:-1]])  # not ended
    invalid = tokenizer("<lcel><nl><eos>", add_special_tokens=False)["input_ids"]
    assert grammar.truncated([0, 0, *invalid])
    short = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0, max_new_tokens=len(ids) + 1)
    assert short.truncated(ids)  # no room was left for another row


@pytest.mark.parametrize("budget", range(3, 25))
def test_every_budget_is_enough(tokenizer, budget):
    generator = torch.Generator().manual_seed(budget)
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=1, max_new_tokens=budget)
    output, done = sample(grammar, 60, len(tokenizer), budget, 1, generator)
    assert done.all()
    for row in output:
        check(tokenizer, row[1:])


def allowed_after(tokenizer, otsl: str, **limits) -> set[str]:
    """The OTSL tokens, "text" and "end" that may follow."""
    ids = tokenizer(otsl, add_special_tokens=False)["input_ids"]
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0, **limits)
    for length in range(len(ids) + 1):  # each step once, as in generate
        scores = grammar(torch.tensor([ids[:length]], dtype=torch.long), torch.zeros(1, len(tokenizer)))
    names = {token for token in TOKENS if scores[0, tokenizer.convert_tokens_to_ids(token)] == 0}
    if scores[0, tokenizer.convert_tokens_to_ids("a")] == 0:
        names.add("text")
    if scores[0, tokenizer.eos_token_id] == 0:
        names.add("end")
    return names


CELLS = {"<fcel>", "<ecel>", "<ched>", "<rhed>", "<srow>"}


@pytest.mark.parametrize(
    ("otsl", "expected"),
    [
        ("", CELLS),
        ("<ecel>", CELLS | {"<lcel>", "<nl>"}),
        ("<fcel>a", CELLS | {"<lcel>", "<nl>", "text"}),
        ("<fcel><lcel>", CELLS | {"<lcel>", "<nl>"}),
        ("<fcel><nl>", CELLS | {"<ucel>", "end"}),
        ("<fcel><fcel><nl><ucel>", CELLS | {"<ucel>"}),
        ("<fcel><lcel><nl><ucel>", {"<xcel>"}),
        ("<fcel><lcel><lcel><nl><ucel><xcel>", {"<xcel>"}),
        ("<fcel><lcel><fcel><nl><ucel><xcel>", CELLS | {"<ucel>"}),
        ("<fcel><lcel><nl><ecel>", CELLS | {"<lcel>"}),  # ucel would continue the middle of a span
        ("<fcel><fcel><nl><ecel><lcel>", {"<nl>"}),
        ("<fcel><fcel><nl><ecel>", CELLS | {"<lcel>", "<ucel>"}),
    ],
)
def test_what_may_follow(tokenizer, otsl, expected):
    assert allowed_after(tokenizer, otsl) == expected


def test_limits_close_the_table(tokenizer):
    assert allowed_after(tokenizer, "<fcel><fcel>", max_new_tokens=5) == CELLS | {"<lcel>", "<nl>", "text"}
    assert allowed_after(tokenizer, "<fcel><fcel>", max_new_tokens=4) == {"<nl>"}
    assert allowed_after(tokenizer, "<fcel><lcel><nl>", max_new_tokens=6) == {"end"}
    assert allowed_after(tokenizer, "<fcel><lcel><nl><ucel>", max_new_tokens=7) == {"<xcel>"}
    assert allowed_after(tokenizer, "<fcel><fcel><nl><fcel>", max_new_tokens=7) == {"<ecel>"}
    assert allowed_after(tokenizer, "<fcel><fcel>", max_cols=2) == {"<nl>", "text"}
    assert allowed_after(tokenizer, "<fcel><nl>", max_rows=1) == {"end"}
    assert "text" not in allowed_after(tokenizer, "<fcel>ab", max_cell_chars=2)


@pytest.mark.parametrize(
    ("text", "limits", "goes_on"),
    [
        (("12.1 22.0 12.1 21.2 " * 4)[:64], {}, False),
        ("ab" * 32, {"min_variety": 0}, True),
        ("he or she does use bread and a red bean. an old shoe and so on below", {}, True),
        ("0.1 0.2 1.0 1.1 1.2 2.0 2.1 2.2 10 11 12 20 21 22 100 101 102 110 111 112", {}, True),
    ],
)
def test_a_cell_that_goes_in_circles_ends(tokenizer, text, limits, goes_on):
    allowed = allowed_after(tokenizer, f"<fcel>{text}", **limits)
    assert ("text" in allowed) == goes_on and CELLS | {"<nl>"} < allowed | {"text"}
    ended = tokenizer(f"<fcel>{text}<fcel>b<nl><eos>", add_special_tokens=False)["input_ids"]
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0, **limits)
    assert grammar.truncated(ended) != goes_on
    assert "text" in allowed_after(tokenizer, f"<fcel>{text}<fcel>b", **limits)


@pytest.mark.parametrize("token", ["<ecel>", "<lcel>", "<ched>"])
def test_equal_cells_without_text_in_the_first_row_end(tokenizer, token):
    start = "<fcel>a" if token == "<lcel>" else ""
    assert token in allowed_after(tokenizer, start + 23 * token)
    ended = allowed_after(tokenizer, start + 24 * token)
    assert token not in ended and {"<nl>"} | (CELLS - {token}) <= ended
    assert token in allowed_after(tokenizer, start + 24 * token, max_run=0)
    assert "<fcel>" in allowed_after(tokenizer, 30 * "<fcel>a"), "these have text"
    as_wide = 30 * "<fcel>a" + "<nl>" + 25 * "<ecel>"
    assert "<ecel>" in allowed_after(tokenizer, as_wide)


def test_a_text_cannot_spell_a_token(tokenizer):
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0)
    ids = tokenizer("<fcel><n", add_special_tokens=False)["input_ids"]
    for length in range(len(ids) + 1):
        scores = grammar(torch.tensor([ids[:length]], dtype=torch.long), torch.zeros(1, len(tokenizer)))
    assert scores[0, tokenizer.convert_tokens_to_ids("l>")] == -torch.inf
    assert scores[0, tokenizer.convert_tokens_to_ids("l")] == 0
    assert scores[0, tokenizer.convert_tokens_to_ids("<nl>x")] == -torch.inf
    assert scores[0, tokenizer.convert_tokens_to_ids("<image>")] == -torch.inf


def test_logits_that_are_not_finite(tokenizer):
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=1)
    for value in (torch.nan, torch.inf, -torch.inf):
        scores = grammar(torch.tensor([[3]]), torch.full((1, len(tokenizer)), value))
        probabilities = scores.softmax(-1)
        assert probabilities.isfinite().all() and probabilities.sum() == pytest.approx(1)
        allowed = tokenizer.convert_tokens_to_ids(sorted(CELLS))
        assert probabilities[0, allowed].sum() == pytest.approx(1)


def test_one_bad_row_of_a_batch(tokenizer):
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=1)
    scores = torch.zeros(2, len(tokenizer))
    scores[1] = torch.nan
    assert grammar(torch.tensor([[3], [3]]), scores).softmax(-1).isfinite().all()


class Noise(LogitsProcessor):
    """Random logits that depend on the sequence, so that beams differ and repeat."""

    def __call__(self, input_ids, scores):
        rows = [torch.randn(scores.shape[-1], generator=torch.Generator().manual_seed(hash(tuple(row)) % 2**31))
                for row in input_ids.tolist()]  # fmt: skip
        return torch.stack(rows) * 4


@pytest.mark.parametrize(
    "mode",
    [{}, {"do_sample": True, "top_k": 5}, {"num_beams": 4}, {"num_beams": 3, "num_return_sequences": 2}],
)
def test_with_generate_batched_and_left_padded(tokenizer, mode):
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=1, pad_token_id=0, eos_token_id=1, bos_token_id=None)  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    ids = torch.tensor([[0, 0, 5, 6], [4, 5, 6, 7], [0, 7, 7, 7]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=4, max_new_tokens=40)
    output = model.generate(**inputs, max_new_tokens=40, logits_processor=[Noise(), grammar], **mode)
    assert len(output) == 3 * mode.get("num_return_sequences", 1)
    for row in output:
        check(tokenizer, row[4:])
    embeds = model.get_input_embeddings()(ids)
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0, max_new_tokens=20)
    output = model.generate(inputs_embeds=embeds, attention_mask=inputs["attention_mask"], max_new_tokens=20,
                            logits_processor=[Noise(), grammar], **mode)  # fmt: skip
    for row in output:
        check(tokenizer, row)


def test_a_wrong_prompt_length_is_an_error(tokenizer):
    grammar = OTSLGrammar.from_tokenizer(tokenizer, prompt_length=4)
    with pytest.raises(ValueError, match="prompt_length=4"):
        grammar(torch.zeros(1, 6, dtype=torch.long), torch.zeros(1, len(tokenizer)))


def test_what_cannot_work_is_refused(tokenizer):
    with pytest.raises(ValueError, match="max_new_tokens=2"):
        OTSLGrammar.from_tokenizer(tokenizer, prompt_length=0, max_new_tokens=2)
    with pytest.raises(ValueError, match="max_cols"):
        GrammarLimits(max_cols=0)
    with pytest.raises(ValueError, match="lacks <fcel>"):
        OTSLVocabulary(["text", None], ["a", ""])
    with pytest.raises(ValueError, match="end token"):
        OTSLGrammar(OTSLVocabulary([*TOKENS], [*TOKENS]), 0, [], GrammarLimits())


def test_close_otsl_at_every_place():
    rng = random.Random(6)
    for _ in range(300):
        table = random_table(rng, max_side=4, hostile=False)
        text = table.to_otsl()
        assert close_otsl(text) == (text, False)
        for cut in range(text.index(">") + 1, len(text)):
            closed, truncated = close_otsl(text[:cut])
            back = Table.from_otsl(closed)
            assert back.repairs == [], (text[:cut], closed)
            assert truncated != text[:cut].endswith("<nl>")
            assert back.n_cols <= table.n_cols and back.n_rows <= table.n_rows
            if "<nl>" in text[:cut]:
                assert back.n_cols == table.n_cols


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", True)),
        ("noise", ("noise", True)),
        ("<fcel>a", ("<fcel>a<nl>", True)),
        ("<fcel>a<fc", ("<fcel>a<nl>", True)),
        ("<fcel>a<fcel>b<nl><fcel>c", ("<fcel>a<fcel>b<nl><fcel>c<ecel><nl>", True)),
        ("<fcel>a<lcel><lcel><nl><ucel>", ("<fcel>a<lcel><lcel><nl><ucel><xcel><xcel><nl>", True)),
        ("<fcel>a<nl><fcel>b<fcel>c", ("<fcel>a<nl><fcel>b<fcel>c<nl>", True)),
        ("<fcel>a<nl><f", ("<fcel>a<nl>", True)),
        ("<fcel>a<nl>\n", ("<fcel>a<nl>\n", False)),
        ("<lcel><fcel>a", ("<lcel><fcel>a<nl>", True)),
    ],
)
def test_close_otsl(text, expected):
    assert close_otsl(text) == expected
