"""Tables as the layouts of data sets can hold them, for the tests of readers."""

from samvlm.data.tables import Cell, Table


def as_held(table: Table, headers: bool = False) -> Table:
    """The table with its texts on one line, without headers unless the layout has them."""
    return Table(
        [
            Cell(" ".join(c.text.split()), c.row, c.col, c.rowspan, c.colspan, c.header if headers else None)
            for c in table.cells
        ],
        table.n_rows,
        table.n_cols,
    )


def table_in(target: dict) -> Table:
    """The table of an item's target: its OTSL where it has headers that HTML cannot hold."""
    return Table.from_otsl(target["otsl"]) if "otsl" in target else Table.from_html(target["html"])


def split_items(stream) -> tuple[list, list]:
    """The Items and the Rejecteds of a reader, apart."""
    from samvlm.data.readers import Item

    everything = list(stream)
    items = [one for one in everything if isinstance(one, Item)]
    return items, [one for one in everything if not isinstance(one, Item)]


def converted(name: str, path, output) -> list:
    """The records that `convert` writes of a data set, each with an image that opens (or none)."""
    from samvlm.data.images import open_image
    from samvlm.data.readers.convert import convert
    from samvlm.data.records import read_records

    report = convert(name, path, output / "records.jsonl", progress=False)
    records = list(read_records(report.output))
    assert len(records) == report.written and not report.rejected
    for record in records:
        assert record.image is None or open_image(record.image).width > 7
    return records
