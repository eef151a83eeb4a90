"""Fixtures of the model tests."""

import pytest
import sam_reference


@pytest.fixture(scope="module")
def meta_encoder():
    """The class of Meta's image encoder."""
    with sam_reference.metas_encoder() as encoder:
        yield encoder
