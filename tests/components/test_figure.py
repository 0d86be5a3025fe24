from inception_finetune.components.figure import plain_figure


def test_what_stands_between_dollars_is_shown_as_it_is(tmp_path):
    import matplotlib

    with plain_figure(figsize=(2, 1)) as figure:
        axes = figure.add_subplot()
        axes.set_yticks([0, 1], [r"$\frac{$", "b"])
        axes.set_title("$x$ and $y$")
        assert not axes.title.get_parse_math()
        figure.savefig(tmp_path / "a.png")
    assert matplotlib.rcParams["text.parse_math"]
