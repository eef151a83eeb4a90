"""Using a trained model: DocumentParser for tables and text, ChatSession for questions."""

from .chat import ChatSession
from .parser import Answer, DocumentParser
from .results import ParseResult

__all__ = ["Answer", "ChatSession", "DocumentParser", "ParseResult"]
