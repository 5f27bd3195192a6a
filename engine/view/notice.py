"""What stands above every page, and a page that has nothing but a sentence."""

from collections.abc import Callable

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import CustomJS, Div, LayoutDOM, Select

PERIOD = 1000  # milliseconds between two looks whether there is something by now
# To the page of another name; a name is never more than the value of `show`.
GO = "if (name) window.location.search = '?show=' + encodeURIComponent(name);"


def choice(names: list[str], shown: str) -> Select:
    """Leads to the pages of what else is in the folder."""
    options = names if shown in names else [shown, *names]
    made = Select(title="in this folder", value=shown, options=options, name="choice", width=700)
    made.js_on_change("value", CustomJS(code=f"const name = this.value; {GO}"))
    return made


def notice(document: Document, sentence: str, *above: LayoutDOM, again: Callable[[], bool] | None = None) -> None:
    """A page that says a sentence, until `again` tells that there is more to see."""
    said = Div(text=sentence, render_as_text=True, disable_math=True, name="said")
    document.add_root(column(*above, said))
    document.title = "draw-poly: the explorer"
    if again is None:
        return
    said.js_on_change("text", CustomJS(code="window.location.reload();"))

    def look() -> None:
        if again():
            said.text = "It has begun."

    document.add_periodic_callback(look, PERIOD)
