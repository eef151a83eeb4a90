"""Two pages with their tables, and a tiny model that learns them by heart."""

from pathlib import Path

import torch
from documents import drawing
from PIL import ImageOps

from samvlm.data.tasks import messages
from samvlm.generation import DocumentParser

LESSONS = [
    (drawing(128, 64), "<ched>Year<ched>Sales<nl><fcel>2004<fcel>34.7<nl>"),
    (ImageOps.invert(drawing(128, 64)), "<ched>Item<lcel><nl><fcel>a < b<ecel><nl>"),
]
QUESTION, REPLY = "How many cells?", "4"


def teach(checkpoint: Path) -> DocumentParser:
    """Train the checkpoint, in about ten seconds, until it gives LESSONS, and REPLY to QUESTION."""
    torch.manual_seed(0)
    parser = DocumentParser.from_pretrained(checkpoint, device="cpu")
    chats = []
    for image, otsl in LESSONS:
        for chat in (messages("table", otsl), messages("question", REPLY, question=QUESTION)):
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
