"""From training to use: a model that has learnt two tables by heart reads each from its own image."""

import pytest
import torch
from documents import drawing
from PIL import ImageOps

from samvlm.data.tables import Table
from samvlm.data.tasks import messages
from samvlm.generation import ChatSession, DocumentParser

LESSONS = [
    (drawing(128, 64), "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"),
    (ImageOps.invert(drawing(128, 64)), "<ched>Item<lcel><nl><fcel>a < b<ecel><nl>"),
]


@pytest.fixture(scope="module")
def taught(tiny_checkpoint) -> DocumentParser:
    torch.manual_seed(0)
    parser = DocumentParser.from_pretrained(tiny_checkpoint, device="cpu")
    chats = []
    for image, otsl in LESSONS:
        for chat in (messages("table", otsl), messages("question", "4", question="How many cells?")):
            chat[0]["content"][0] = {"type": "image", "image": image}
            chats.append(chat)
    batch = parser.processor.apply_chat_template(
        chats,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
        processor_kwargs={"padding": True},
    )
    spoken = torch.as_tensor(batch.pop("assistant_masks")).bool()
    labels = batch["input_ids"].masked_fill(~spoken, -100)
    model = parser.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    model.eval()
    return parser


@pytest.mark.parametrize("lesson", [0, 1])
def test_each_image_gives_its_table(taught, lesson):
    image, otsl = LESSONS[lesson]
    result = taught(image)
    assert result.text == otsl and result.finish_reason == "stop"
    assert result.tables == [Table.from_otsl(otsl)]
    assert all(cell.confidence is None or cell.confidence > 0.5 for cell in result.tables[0].cells)
    assert taught(image, grammar=False).text == otsl


def test_the_chat_asks_with_the_words_of_the_training(taught):
    session = ChatSession(taught, LESSONS[0][0])
    assert "".join(session.ask("How many cells?")) == "4" and session.finish_reason == "stop"
