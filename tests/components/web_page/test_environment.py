"""What templates are given stays text: in HTML by Jinja's escapes, in Markdown by ours."""

from inception_finetune.components.web_page.environment import markdown_templates, templates

PACKAGE = "inception_finetune.components.model_report"
HOSTILE = "<script>x</script> ![x](http://evil.invalid/x.png)|`a`\n# b \x1b[2J\u202e"


def test_names_cannot_become_html_pictures_or_lines_of_markdown():
    card = markdown_templates(PACKAGE)
    card.autoescape = False  # as of what ends in .md
    text = card.from_string("| {{ name }} |").render(name=HOSTILE)
    shown = (
        "&lt;script&gt;x&lt;/script&gt; \\!\\[x\\]\\(http://evil.invalid/x.png\\)\\|\\`a\\` \\# b "
        "\\\\x1b\\[2J\\\\u202e"
    )
    assert text == f"| {shown} |"


def test_names_cannot_become_html():
    page = templates(PACKAGE)
    page.autoescape = True  # as of what ends in .html
    assert "<script" not in page.from_string("{{ name }}").render(name=HOSTILE)
