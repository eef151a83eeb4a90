"""Using a trained model: DocumentParser for tables and text, ChatSession for questions."""

from .answers import Answer
from .chat import ChatSession
from .parser import DocumentParser
from .results import ParseResult

__all__ = ["Answer", "ChatSession", "DocumentParser", "ParseResult"]
