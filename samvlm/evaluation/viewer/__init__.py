"""The error viewer: one HTML file that shows what a model read wrongly, and where."""

from .writer import ViewerReport, write_viewer

__all__ = ["ViewerReport", "write_viewer"]
