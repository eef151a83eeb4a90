"""A parser over the tiny random checkpoint, and one that has learnt something."""

import pytest
from lessons import teach

from samvlm.generation import DocumentParser


@pytest.fixture(scope="module")
def parser(tiny_checkpoint) -> DocumentParser:
    """It never emits single bytes, so that its texts are plain characters."""
    parser = DocumentParser.from_pretrained(tiny_checkpoint, device="cpu")
    vocabulary = parser.processor.tokenizer.get_vocab()
    silent = [index for token, index in vocabulary.items() if token.startswith("<0x")]
    parser.model.generation_config.suppress_tokens += silent
    return parser


@pytest.fixture(scope="session")
def taught(tiny_checkpoint) -> DocumentParser:
    """It knows `lessons.LESSONS` by heart."""
    return teach(tiny_checkpoint)
