from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from studies.engine.figures import (
    ESTIMATOR_STYLES,
    Figure,
    band,
    canvas,
    estimator_style,
    look,
    reference_slope,
)


def make_figure(name: str = "f", points: pd.DataFrame | None = None) -> Figure:
    drawing, (ax,) = canvas()
    with look():
        ax.loglog([1, 10], [1, 0.1], label="<script>", **estimator_style("SPSA"))
        band(ax, [1, 10], [0.9, 0.05], [1.1, 0.2])
        reference_slope(ax, -1.0, "slope -1", (1.0, 1.0))
        ax.legend()
    points = pd.DataFrame({"x": [1, 10]}) if points is None else points
    return Figure(name=name, figure=drawing, points=points, caption="c")


def test_same_drawing_gives_the_same_bytes() -> None:
    one, two = make_figure(), make_figure()
    assert one.svg() == two.svg() and one.svg() == one.svg()
    assert one.pdf() == two.pdf()


def test_drawing_names_no_font_no_date_and_no_script() -> None:
    text = make_figure().svg().decode()
    assert "font-family" not in text and "<script" not in text and "dc:date" not in text


def test_three_files_are_saved(tmp_path: Path) -> None:
    make_figure("name").save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["name.csv", "name.pdf", "name.svg"]


def test_cells_that_look_like_formulas_are_made_inert() -> None:
    points = pd.DataFrame({"text": ["=1+1", "+1", "-1", "@x", "fine", "a=b"], "=number": [-1.5] * 6})
    lines = make_figure(points=points).csv().decode().splitlines()
    assert lines[0] == "text,'=number"
    assert [line.split(",")[0] for line in lines[1:]] == ["'=1+1", "'+1", "'-1", "'@x", "fine", "a=b"]
    assert {line.split(",")[1] for line in lines[1:]} == {"-1.5"}


def test_names_stay_inside_the_folder() -> None:
    with pytest.raises(ValueError, match="`name` must be"):
        make_figure("../f")


def test_each_estimator_has_a_look_of_its_own() -> None:
    looks = {tuple(style.values()) for style in ESTIMATOR_STYLES.values()}
    assert len(looks) == len(ESTIMATOR_STYLES)
    names = [f"rule {number}" for number in range(20)]
    others = {tuple(estimator_style(name, names).values()) for name in names}
    assert len(others) == 20 and not others & looks
    assert estimator_style("rule 3", reversed(names)) == estimator_style("rule 3", names)


def test_reference_slope_leaves_the_axes_as_they_are() -> None:
    _, (ax,) = canvas()
    ax.loglog([1, 10], [1, 0.1])
    before = ax.get_xlim(), ax.get_ylim()
    reference_slope(ax, -3.0, "slope", (1.0, 1.0))
    assert (ax.get_xlim(), ax.get_ylim()) == before
