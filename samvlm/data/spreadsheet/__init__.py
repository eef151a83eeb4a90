"""XLSX workbooks: writing tables as sheets and reading sheets as tables."""
