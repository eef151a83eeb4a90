"""The feature cache: what a frozen tower makes of an image is made once, and read from then on."""

from .cache import FeatureCache, FeatureReader, KnownImage
from .identity import Space, space_of
from .store import FeatureStore

__all__ = ["FeatureCache", "FeatureReader", "FeatureStore", "KnownImage", "Space", "space_of"]
