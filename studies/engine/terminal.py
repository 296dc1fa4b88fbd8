"""What a user reads on the terminal."""

from __future__ import annotations

from studies.engine.grid import Grid

_WIDEST = 1000


def print_grid(grid: Grid) -> None:
    """Prints a grid on standard output; square brackets in texts stay what they are.

    Cells are never folded: a row wider than the terminal is continued by the terminal, which keeps it readable and
    whole when it is copied or piped.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(grid.columns):
        numbers = any(row[index].number for row in grid.rows)
        table.add_column(Text(name), justify="right" if numbers else "left", no_wrap=True)
    for row in grid.rows:
        table.add_row(*(Text(cell.text) for cell in row))
    Console(width=_WIDEST).print(table, soft_wrap=True)
